// Package columns fits text to the width of a terminal.
package columns

import (
	"io"
	"os"
	"strconv"
	"strings"
	"unicode/utf8"

	"golang.org/x/term"
)

const (
	// Default is the width if the output is not a terminal.
	Default = 80
	// least and most bound the width that the environment or a terminal reports.
	least, most = 10, 1000
)

// Of returns the width for output to w: the environment's COLUMNS, or the width of w if it
// is a terminal, or Default.
func Of(w io.Writer) int {
	if n, err := strconv.Atoi(os.Getenv("COLUMNS")); err == nil && n > 0 {
		return min(max(n, least), most)
	}
	return OfTerminal(w)
}

// OfTerminal returns the current width of w if it is a terminal, or else Default.
func OfTerminal(w io.Writer) int {
	if f, ok := w.(*os.File); ok {
		if n, _, err := term.GetSize(int(f.Fd())); err == nil && n > 0 {
			return min(max(n, least), most)
		}
	}
	return Default
}

// Width returns the number of columns that s occupies. All characters in the program's own
// texts occupy one.
func Width(s string) int { return utf8.RuneCountInString(s) }

// Wrap breaks a text into lines between words. A word that is longer than width has a
// line of its own.
func Wrap(text string, width int) []string {
	var lines []string
	line := ""
	for word := range strings.FieldsSeq(text) {
		switch {
		case line == "":
			line = word
		case Width(line)+1+Width(word) <= width:
			line += " " + word
		default:
			lines = append(lines, line)
			line = word
		}
	}
	if line != "" {
		lines = append(lines, line)
	}
	return lines
}

// Cut shortens s to at most width columns.
func Cut(s string, width int) string {
	if Width(s) <= width {
		return s
	}
	return string([]rune(s)[:max(width, 0)])
}
