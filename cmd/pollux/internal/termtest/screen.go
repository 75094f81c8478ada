// Package termtest is a terminal for tests: the output of a program is drawn on a
// screen in memory.
package termtest

import (
	"strconv"
	"strings"
	"sync"
	"unicode/utf8"
)

// A Screen understands the sequences that this program uses: text, carriage return, newline,
// backspace, cursor up (CSI A), erase line (CSI K) and erase below (CSI J). It grows
// downwards. Its methods may be called from any goroutine.
type Screen struct {
	mu          sync.Mutex
	width       int
	rows        [][]rune
	row, column int
	rest        []byte // an incomplete sequence
}

// NewScreen returns an empty screen of the given width.
func NewScreen(width int) *Screen { return &Screen{width: width, rows: make([][]rune, 1)} }

// Width returns the number of columns.
func (s *Screen) Width() int { return s.width }

// String returns the rows, without blanks at their ends.
func (s *Screen) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	lines := make([]string, len(s.rows))
	for i, row := range s.rows {
		lines[i] = strings.TrimRight(string(row), " ")
	}
	return strings.Join(lines, "\n")
}

// Write implements io.Writer.
func (s *Screen) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.rest = append(s.rest, b...)
	for len(s.rest) > 0 {
		n := s.stepLocked(s.rest)
		if n == 0 {
			break
		}
		s.rest = s.rest[n:]
	}
	return len(b), nil
}

// stepLocked executes the first sequence of b and returns its length, 0 if it is incomplete.
func (s *Screen) stepLocked(b []byte) int {
	switch b[0] {
	case '\r':
		s.column = 0
	case '\b':
		s.column = max(s.column-1, 0)
	case '\n':
		s.downLocked()
		s.column = 0
	case 0x1b:
		return s.controlLocked(b)
	default:
		if !utf8.FullRune(b) {
			return 0
		}
		r, n := utf8.DecodeRune(b)
		s.putLocked(r)
		return n
	}
	return 1
}

func (s *Screen) downLocked() {
	if s.row++; s.row == len(s.rows) {
		s.rows = append(s.rows, nil)
	}
}

func (s *Screen) putLocked(r rune) {
	if s.column == s.width {
		s.downLocked()
		s.column = 0
	}
	for len(s.rows[s.row]) <= s.column {
		s.rows[s.row] = append(s.rows[s.row], ' ')
	}
	s.rows[s.row][s.column] = r
	s.column++
}

func (s *Screen) controlLocked(b []byte) int {
	end := strings.IndexAny(string(b), "AJK")
	if end < 0 {
		return 0
	}
	n, _ := strconv.Atoi(string(b[2:end]))
	switch b[end] {
	case 'A':
		s.row = max(s.row-max(n, 1), 0)
	case 'J':
		s.rows = s.rows[:s.row+1]
		fallthrough
	case 'K':
		s.rows[s.row] = s.rows[s.row][:min(s.column, len(s.rows[s.row]))]
	}
	return end + 1
}
