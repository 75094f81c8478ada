package dnsconf

import (
	"fmt"
	"strings"
)

// A WarningKind classifies a Warning.
type WarningKind uint8

// Kinds of warnings.
const (
	// Invalid: the value is ignored.
	Invalid WarningKind = iota
	// Unknown: the keyword or option is unknown, and ignored.
	Unknown
	// Unsupported: the keyword or option is known, but not honoured.
	Unsupported
	// Limited: a limit applies; what exceeds it is ignored.
	Limited
	// Lenient: the value is taken, but the system's own resolver may ignore it.
	Lenient
)

var warningKindNames = [...]string{
	Invalid: "invalid", Unknown: "unknown", Unsupported: "unsupported", Limited: "over a limit", Lenient: "not portable",
}

// String returns the kind in words.
func (k WarningKind) String() string {
	if int(k) < len(warningKindNames) {
		return warningKindNames[k]
	}
	return "unknown kind"
}

// A Warning reports a line of a file that is not taken as it is. It is an error, so that it can be
// returned or logged.
type Warning struct {
	File string // the path, or the name of an environment variable; parsers do not know the path, and leave it empty
	Line int    // from 1; 0 if the whole file is concerned
	Kind WarningKind
	Text string // the problem, and what to do; printable
}

func (w *Warning) Error() string {
	where := w.File
	if w.Line > 0 {
		where = fmt.Sprintf("%s:%d", w.File, w.Line)
	}
	return fmt.Sprintf("%s: %v: %s", where, w.Kind, w.Text)
}

// maxWarnings bounds the warnings about a file. The last one then reports how many are left out.
const maxWarnings = 32

// warnings collects those about a file.
type warnings struct {
	list    []Warning
	omitted int
	file    string // for Warning.File
	line    int    // the current one
}

func (w *warnings) add(kind WarningKind, format string, args ...any) {
	if len(w.list) == maxWarnings-1 {
		w.omitted++
		return
	}
	w.list = append(w.list, Warning{File: w.file, Line: w.line, Kind: kind, Text: fmt.Sprintf(format, args...)})
}

// all returns the warnings.
func (w *warnings) all() []Warning {
	if w.omitted > 0 {
		return append(w.list, Warning{Kind: Limited, Text: fmt.Sprintf("%d more warnings are left out", w.omitted)})
	}
	return w.list
}

// maxQuotedBytes bounds what a warning quotes of a line, which may have any length.
const maxQuotedBytes = 80

// quote returns text in quotes, printable and cut.
func quote(text string) string {
	if len(text) > maxQuotedBytes {
		return fmt.Sprintf("%+q…", text[:maxQuotedBytes])
	}
	return fmt.Sprintf("%+q", text)
}

// blanks separate fields. CR is for files with the line ends of Windows.
const blanks = " \t\r\f\v"

// lines calls yield with each line of data and its fields, as range does, and sets w.line. Of data that
// exceeds maxBytes, it leaves out the last lines.
func (w *warnings) lines(data string, maxBytes int) func(yield func(line string) bool) {
	return func(yield func(string) bool) {
		cut := len(data) > maxBytes
		if cut {
			data = data[:maxBytes]
			data = data[:strings.LastIndexByte(data, '\n')+1] // not half of a line
		}
		w.line = 0
		for line := range strings.Lines(data) {
			w.line++
			if !yield(strings.TrimRight(line, blanks+"\n")) {
				return
			}
		}
		if w.line = 0; cut {
			w.add(Limited, "the file has more than %d bytes; the lines after that are ignored", maxBytes)
		}
	}
}

// fields splits a line at blanks. Only ASCII has blanks here.
func fields(line string) []string { return appendFields(nil, line) }

// appendFields is fields for lines that are so many that their slices are reused.
func appendFields(list []string, line string) []string {
	for at := 0; at < len(line); {
		start := at
		for at < len(line) && !isBlank(line[at]) {
			at++
		}
		if at > start {
			list = append(list, line[start:at])
		}
		at++
	}
	return list
}

func isBlank(c byte) bool { return strings.IndexByte(blanks, c) >= 0 }

// lower is s in lower case; only ASCII letters have case here. It does not allocate if s is in lower case.
func lower(s string) string {
	for i := range len(s) {
		if 'A' <= s[i] && s[i] <= 'Z' {
			b := []byte(s)
			for j := i; j < len(b); j++ {
				if 'A' <= b[j] && b[j] <= 'Z' {
					b[j] += 'a' - 'A'
				}
			}
			return string(b)
		}
	}
	return s
}
