// Package idn converts international domain names to the ASCII form that DNS has (RFC 5890), as browsers and curl do.
//
// The profile is that of the URL standard (https://url.spec.whatwg.org/#idna): Unicode Technical Standard 46,
// nontransitional, so that "ß" is a letter of its own, with the rules for right-to-left text (RFC 5893) and for joiners
// (RFC 5892, appendix A). Hyphens may be anywhere, as names such as "r3---sn.example" exist. Underscores
// stay, for names of services (RFC 2782). Other ASCII punctuation is refused, also where a character is mapped to it: a
// full-width backslash must not become the escape of a zone file.
//
// All functions may be called from any goroutine.
package idn

import (
	"fmt"
	"strings"
	"unicode/utf8"

	"golang.org/x/net/idna"

	"github.com/pollux-io/pollux/internal/dnswire"
)

// MaxBytes is the length of the longest name that ToASCII converts, in octets. A name of DNS has at most 254
// characters in ASCII, and each of those takes at most 4 octets in Unicode; what is mapped to nothing is not worth more.
const MaxBytes = 4 * dnswire.MaxNameBytes

// options are those of the profile. MapForLookup sets more than it should: the others correct that.
func options(more ...idna.Option) []idna.Option {
	return append([]idna.Option{
		idna.MapForLookup(), idna.Transitional(false), idna.BidiRule(), idna.CheckJoiners(true),
		idna.CheckHyphens(false), idna.StrictDomainName(false), idna.VerifyDNSLength(false),
	}, more...)
}

var (
	profile = idna.New(options()...)
	// lax has no rule that concerns more than one character.
	lax = idna.New(
		idna.MapForLookup(), idna.Transitional(false), idna.CheckJoiners(false),
		idna.CheckHyphens(false), idna.StrictDomainName(false), idna.VerifyDNSLength(false),
	)
	laxJoiners = idna.New(options(idna.CheckJoiners(false))...)
)

// IsASCII reports whether ToASCII returns name as it is.
func IsASCII(name string) bool {
	for i := range len(name) {
		if name[i] >= utf8.RuneSelf {
			return false
		}
	}
	return true
}

// ToASCII returns the ASCII form of a name in UTF-8. A name that is in ASCII already is returned as it is,
// whatever is in it, without an allocation. The full stops of other scripts separate labels, too: U+3002, U+FF0E and
// U+FF61; a final one is kept, as a dot. The error is a *LabelError.
func ToASCII(name string) (string, error) {
	if IsASCII(name) {
		return name, nil
	}
	switch {
	case len(name) > MaxBytes:
		return "", &LabelError{Reason: fmt.Sprintf("the name is longer than %d octets", MaxBytes)}
	case !utf8.ValidString(name):
		return "", &LabelError{firstLabel(name, utf8.ValidString), "it is not valid UTF-8"}
	}
	ascii, err := profile.ToASCII(name)
	if err != nil {
		return "", explain(name, err)
	}
	for label := range strings.SplitSeq(ascii, ".") {
		if i := strings.IndexFunc(label, isForbidden); i >= 0 {
			return "", &LabelError{label, fmt.Sprintf("it has the character %q, also after mapping; international names have letters, digits, - and _", label[i])}
		}
		if len(label) > dnswire.MaxLabelBytes {
			return "", &LabelError{label, fmt.Sprintf("it has %d octets in ASCII; DNS has at most %d", len(label), dnswire.MaxLabelBytes)}
		}
	}
	return ascii, nil
}

// isForbidden reports whether a converted label must not have r.
func isForbidden(r rune) bool {
	return r != '-' && r != '_' && (r < '0' || r > '9') && (r < 'a' || r > 'z')
}
