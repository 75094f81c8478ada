package columns

import (
	"fmt"
	"io"
	"strings"
)

const (
	indent  = 2 // of a row
	gap     = 2 // between columns
	hanging = 6 // indent of text that is printed below its row
	// The last column is printed below the others if it would be narrower than leastText, or
	// than leastPart of the width on a narrow terminal.
	leastText = 32
	leastPart = 0.4
)

// A Table has rows of cells. The last cell of a row is a text, which is wrapped between
// words if necessary.
type Table struct{ rows [][]string }

// Row appends a row. All rows have the same number of cells, at least two.
func (t *Table) Row(cells ...string) { t.rows = append(t.rows, cells) }

// Print writes the table, no line of it longer than width unless a single word is.
func (t *Table) Print(w io.Writer, width int) {
	if len(t.rows) == 0 {
		return
	}
	last := len(t.rows[0]) - 1
	widths := make([]int, last)
	fixed := indent
	for i := range widths {
		for _, row := range t.rows {
			widths[i] = max(widths[i], Width(row[i]))
		}
		fixed += widths[i] + gap
	}
	for _, row := range t.rows {
		head := strings.Repeat(" ", indent)
		for i, cell := range row[:last] {
			head += cell + strings.Repeat(" ", widths[i]+gap-Width(cell))
		}
		switch {
		case float64(width-fixed) >= min(leastText, leastPart*float64(width)):
			beside(w, head, row[last], fixed, width)
		case fixed-gap <= width:
			below(w, []string{strings.TrimRight(head, " ")}, row[last], width)
		default:
			below(w, flow(row[:last], width), row[last], width)
		}
	}
}

// beside prints the text in a column of its own.
func beside(w io.Writer, head, text string, fixed, width int) {
	for _, line := range Wrap(text, width-fixed) {
		fmt.Fprintf(w, "%s%s\n", head, line)
		head = strings.Repeat(" ", fixed)
	}
	if text == "" {
		fmt.Fprintln(w, strings.TrimRight(head, " "))
	}
}

// below prints the text under the other cells.
func below(w io.Writer, head []string, text string, width int) {
	for _, line := range head {
		fmt.Fprintln(w, line)
	}
	for _, line := range Wrap(text, width-hanging) {
		fmt.Fprintf(w, "%*s%s\n", hanging, "", line)
	}
}

// flow joins cells into lines, and breaks lines between cells where possible.
func flow(cells []string, width int) []string {
	lines := []string{strings.Repeat(" ", indent) + cells[0]}
	for _, cell := range cells[1:] {
		line := &lines[len(lines)-1]
		if joined := *line + strings.Repeat(" ", gap) + cell; Width(joined) <= width {
			*line = joined
			continue
		}
		for _, part := range Wrap(cell, width-hanging) {
			lines = append(lines, strings.Repeat(" ", hanging)+part)
		}
	}
	return lines
}
