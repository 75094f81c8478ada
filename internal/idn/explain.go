package idn

import (
	"fmt"
	"strings"
	"unicode"
)

// A LabelError reports why a name has no ASCII form.
type LabelError struct {
	Label  string // as given, or in ASCII; "" if the name as a whole is invalid
	Reason string
}

// Error returns the label and the reason. It is printable ASCII, whatever the label is.
func (e *LabelError) Error() string {
	if e.Label == "" {
		return "international name: " + e.Reason
	}
	return fmt.Sprintf("international name: label %+q: %s", e.Label, e.Reason)
}

// isDot reports whether r separates labels (UTS 46, section 4, with the mappings of its table).
func isDot(r rune) bool { return r == '.' || r == '\u3002' || r == '\uff0e' || r == '\uff61' }

// firstLabel returns the first label that is not ok.
func firstLabel(name string, ok func(string) bool) string {
	for _, label := range strings.FieldsFunc(name, isDot) {
		if !ok(label) {
			return label
		}
	}
	return ""
}

// explain finds the label that is invalid, and why. err is the error of the whole name.
func explain(name string, err error) *LabelError {
	valid := func(label string) bool { _, err := profile.ToASCII(label); return err == nil }
	if label := firstLabel(name, valid); label != "" {
		_, err := profile.ToASCII(label)
		return &LabelError{label, reason(label, err)}
	}
	// Each label is valid alone: the name has right-to-left text, which makes the rule apply to all labels.
	label := firstLabel(name, func(label string) bool { return valid(label + ".\u05d0") })
	if label == "" {
		return &LabelError{Reason: err.Error()}
	}
	return &LabelError{label, "it is invalid in a name with right-to-left text (RFC 5893)"}
}

// reason returns why a label is invalid. err is the error of the profile, which does not tell.
func reason(label string, err error) string {
	isMark := func(r rune) bool { return unicode.Is(unicode.M, r) }
	for i, r := range label {
		if _, err := lax.ToASCII("a" + string(r)); err != nil {
			return fmt.Sprintf("names must not have the character %U", r)
		}
		if i == 0 && isMark(r) {
			return fmt.Sprintf("it begins with the combining mark %U", r)
		}
	}
	switch {
	case strings.HasPrefix(strings.ToLower(label), "xn--"):
		return "it is not the ASCII form of a label"
	case passes(laxJoiners, label):
		return "a zero-width joiner or non-joiner is where the script does not need one (RFC 5892, appendix A)"
	case passes(lax, label):
		return "it mixes left-to-right and right-to-left text (RFC 5893)"
	}
	return err.Error()
}

func passes(p interface{ ToASCII(string) (string, error) }, label string) bool {
	_, err := p.ToASCII(label)
	return err == nil
}
