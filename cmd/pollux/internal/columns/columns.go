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
	// Default is the width where there is no terminal to ask.
	Default = 80
	// least and most are the widths that are believed.
	least, most = 10, 1000
)

// Of returns the width of what is written to w: that of the environment's COLUMNS, or
// of the terminal that w is, or Default.
func Of(w io.Writer) int {
	if n, err := strconv.Atoi(os.Getenv("COLUMNS")); err == nil && n > 0 {
		return min(max(n, least), most)
	}
	return OfTerminal(w)
}

// OfTerminal returns the width of the terminal that w is, as it is now, or Default.
func OfTerminal(w io.Writer) int {
	if f, ok := w.(*os.File); ok {
		if n, _, err := term.GetSize(int(f.Fd())); err == nil && n > 0 {
			return min(max(n, least), most)
		}
	}
	return Default
}

// Width is how many columns s takes. All that the program prints of itself is of
// characters that take one.
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
