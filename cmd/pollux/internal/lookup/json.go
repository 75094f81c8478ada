package lookup

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"time"
	"unicode/utf8"
)

// JSON prints an object a line for each result. Its fields are stable: fields may be added, but none
// changes its meaning.
type JSON struct {
	out     *bufio.Writer
	buffer  bytes.Buffer
	encoder *json.Encoder
	trace   func(*Result) *Trace // nil: none
}

// An object is the JSON of a result.
type object struct {
	Name      string   `json:"name"` // as given, if it is valid UTF-8: see jsonName
	Type      string   `json:"type"` // A+AAAA: both families
	Answers   []string `json:"answers"`
	Canonical string   `json:"canonical,omitempty"` // absent if there is no answer
	TTL       *int64   `json:"ttl,omitempty"`       // in seconds; absent if it is not known
	Path      string   `json:"path,omitempty"`      // absent if the failure does not come from a source
	Stale     bool     `json:"stale,omitempty"`
	Error     string   `json:"error,omitempty"` // absent if the name was resolved
	Cause     cause    `json:"cause,omitempty"` // of the error
	Trace     *Trace   `json:"trace,omitempty"`
}

// NewJSON returns a JSON. With trace, the objects have what that returns.
func NewJSON(out io.Writer, trace func(*Result) *Trace) *JSON {
	j := &JSON{out: bufio.NewWriter(out), trace: trace}
	j.encoder = json.NewEncoder(&j.buffer)
	j.encoder.SetEscapeHTML(false)
	return j
}

// Flush implements Printer.
func (j *JSON) Flush() error { return j.out.Flush() }

// Result implements Printer.
func (j *JSON) Result(r *Result) error {
	o := object{Name: jsonName(r.Name), Type: r.Kind.String(), Answers: r.answers(), Path: string(r.path())}
	if r.Err != nil {
		o.Error, o.Cause = r.failure(), causeOf(r.Err)
	} else {
		o.Canonical, o.Stale = r.Answer.Canonical, r.Answer.Stale
		if r.hasTTL() {
			seconds := int64(r.Answer.TTL / time.Second)
			o.TTL = &seconds
		}
	}
	if j.trace != nil {
		o.Trace = j.trace(r)
	}
	j.buffer.Reset()
	if err := j.encoder.Encode(&o); err != nil {
		return err
	}
	_, err := j.out.Write(escapeUnprintable(j.buffer.Bytes()))
	return err
}

// jsonName returns a name for JSON, whose strings are valid UTF-8. In others, what is not printable is escaped as in zone
// files, where it is the same name: package json would replace different octets by the same character.
func jsonName(name string) string {
	if utf8.ValidString(name) {
		return name
	}
	return printable(name)
}

// escapeUnprintable escapes the characters that a terminal may interpret, and package json leaves as they are. Outside
// ASCII, JSON has strings only.
func escapeUnprintable(b []byte) []byte {
	clean := true
	for i := 0; i < len(b) && clean; i++ {
		clean = b[i] < 0x7f
	}
	if clean {
		return b
	}
	var escaped []byte
	for len(b) > 0 {
		r, n := utf8.DecodeRune(b)
		switch {
		case r < 0x7f || strconv.IsPrint(r):
			escaped = append(escaped, b[:n]...)
		case r <= 0xffff:
			escaped = fmt.Appendf(escaped, `\u%04x`, r)
		default:
			const surrogates, high, low = 0x10000, 0xd800, 0xdc00
			escaped = fmt.Appendf(escaped, `\u%04x\u%04x`, high+(r-surrogates)>>10, low+(r-surrogates)&0x3ff)
		}
		b = b[n:]
	}
	return escaped
}
