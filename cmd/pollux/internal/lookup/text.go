package lookup

import (
	"bufio"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/pollux-io/pollux/cmd/pollux/internal/columns"
	"github.com/pollux-io/pollux/cmd/pollux/internal/report"
)

// A Printer prints results. One goroutine calls its methods.
type Printer interface {
	// Result prints one result. The error is that of the output.
	Result(r *Result) error
	// Flush writes what is buffered.
	Flush() error
}

var (
	_ Printer = (*Text)(nil)
	_ Printer = (*JSON)(nil)
)

const (
	// leastNameWidth and mostNameWidth bound the column of names. A longer name moves the other columns.
	leastNameWidth, mostNameWidth = 16, 40
	// listNameWidth is the width for names that are not known in advance.
	listNameWidth = 28
)

// NameWidth returns the width of the column of names.
func NameWidth(given []string, more bool) int {
	width := leastNameWidth
	if more {
		width = listNameWidth
	}
	for _, name := range given {
		width = max(width, columns.Width(printableName(name)))
	}
	return min(width, mostNameWidth)
}

// Text prints a line for each answer: the name, the type, the TTL in seconds, the data, and in parentheses
// where it comes from. Columns are separated by blanks; the first three have none inside.
// A lookup that fails is a line on Err.
type Text struct {
	out       *bufio.Writer
	err       io.Writer
	nameWidth int
	trace     func(*Result) *Trace // nil: none
}

// NewText returns a Text. With trace, each result is followed by what that returns.
func NewText(out, err io.Writer, nameWidth int, trace func(*Result) *Trace) *Text {
	return &Text{bufio.NewWriter(out), err, nameWidth, trace}
}

// Flush implements Printer.
func (t *Text) Flush() error { return t.out.Flush() }

// Result implements Printer.
func (t *Text) Result(r *Result) error {
	if r.Err != nil {
		if t.trace != nil { // in the order of the results, also on a terminal
			if err := t.out.Flush(); err != nil {
				return err
			}
		}
		fmt.Fprintf(t.err, "pollux: %s %s: %s\n", printableName(r.Name), r.Kind, r.failure())
		return t.printTrace(t.err, r)
	}
	ttl := "-"
	if r.hasTTL() {
		ttl = strconv.FormatInt(int64(r.Answer.TTL/time.Second), 10)
	}
	name := printableName(r.Name)
	name += strings.Repeat(" ", max(t.nameWidth-columns.Width(name), 0))
	for _, data := range r.answers() {
		kind := r.Kind.String()
		if r.Kind == Addresses {
			kind = "A"
			if strings.Contains(data, ":") {
				kind = "AAAA"
			}
		}
		if _, err := fmt.Fprintf(t.out, "%s  %-6s  %6s  %s  (%s)\n", name, kind, ttl, data, r.Answer.Path); err != nil {
			return err
		}
	}
	return t.printTrace(t.out, r)
}

func (t *Text) printTrace(w io.Writer, r *Result) error {
	if t.trace == nil {
		return nil
	}
	for _, line := range t.trace(r).Lines(r) {
		if _, err := fmt.Fprintf(w, "    %s\n", printable(line)); err != nil && r.Err == nil {
			return err
		}
	}
	return nil
}

// Summary returns the last line of a run.
func Summary(resolved, begun int, took time.Duration) string {
	return fmt.Sprintf("%d of %d resolved in %s", resolved, begun, report.Round(took))
}

// printableName is printable for a name, which is one word, also if it is empty.
func printableName(s string) string {
	if s == "" {
		return `""`
	}
	return strings.ReplaceAll(printable(s), " ", `\032`)
}

// printable returns s with what is not printable escaped as in zone files: a backslash and three digits for each
// octet. A name of a list, or a text of a server, may have anything in it.
func printable(s string) string {
	clean := true
	for i := 0; i < len(s) && clean; i++ {
		clean = ' ' <= s[i] && s[i] < 0x7f
	}
	if clean {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); {
		r, n := utf8.DecodeRuneInString(s[i:])
		if r == utf8.RuneError && n == 1 || !strconv.IsPrint(r) {
			for _, c := range []byte(s[i : i+n]) {
				fmt.Fprintf(&b, `\%03d`, c)
			}
		} else {
			b.WriteString(s[i : i+n])
		}
		i += n
	}
	return b.String()
}
