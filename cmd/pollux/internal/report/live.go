package report

import (
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"
	"unicode/utf8"

	"golang.org/x/term"
)

const (
	// defaultWidth is assumed if the terminal does not report its width.
	defaultWidth = 80
	// spareColumns are left free after the line: for the ^C that a terminal echoes there, and
	// the cursor.
	spareColumns = echoColumns + 1
)

// Live is a line at the bottom of a terminal that is redrawn periodically; text that is
// written to it appears above. Its methods may be called from any goroutine.
//
// The cursor stays after the line, on the same row. So the terminal's echo appears there,
// and the next drawing, which begins by erasing the row, removes it.
type Live struct {
	out    io.Writer
	width  func() int
	render func() string
	text   atomic.Pointer[string] // for Show

	mu     sync.Mutex
	drawn  int // columns of the line that is on the terminal
	closed bool

	stop chan struct{}
	done sync.WaitGroup
}

// NewLive begins an empty line.
func NewLive(terminal *os.File, refresh time.Duration) *Live {
	l := newLive(terminal, func() int { return widthOf(terminal) })
	l.Show("")
	l.start(refresh, func() string { return *l.text.Load() })
	return l
}

// NewLiveFunc begins a line that render returns, for the current Width. render is called from a goroutine of its own,
// and by Write and Close.
func NewLiveFunc(terminal *os.File, refresh time.Duration, render func(width int) string) *Live {
	l := newLive(terminal, func() int { return widthOf(terminal) })
	l.start(refresh, func() string { return render(l.Width()) })
	return l
}

func newLive(out io.Writer, width func() int) *Live {
	return &Live{out: out, width: width, stop: make(chan struct{})}
}

func widthOf(terminal *os.File) int {
	if width, _, err := term.GetSize(int(terminal.Fd())); err == nil && width > 0 {
		return width
	}
	return defaultWidth
}

// start begins to draw the line that render returns.
func (l *Live) start(refresh time.Duration, render func() string) {
	l.render = render
	tick := time.NewTicker(refresh)
	l.done.Go(func() {
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				l.draw()
			case <-l.stop:
				return
			}
		}
	})
}

// Width returns how many columns Show can fill at the terminal's current width, at least 1.
func (l *Live) Width() int { return max(l.width()-spareColumns, 1) }

// Show replaces the line. It is cut to Width.
func (l *Live) Show(text string) { l.text.Store(&text) }

func (l *Live) draw() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.closed {
		io.WriteString(l.out, l.eraseLocked()+l.lineLocked())
	}
}

// lineLocked returns the line, cut to the width.
func (l *Live) lineLocked() string {
	line := l.render()
	if width := l.Width(); utf8.RuneCountInString(line) > width {
		line = string([]rune(line)[:width])
	}
	l.drawn = utf8.RuneCountInString(line)
	return line
}

// eraseLocked returns the control sequence that erases the line, also if the terminal has
// become narrower and has wrapped it.
func (l *Live) eraseLocked() string {
	up := ""
	if rows := max(l.drawn-1, 0) / max(l.width(), 1); rows > 0 {
		up = fmt.Sprintf("\x1b[%dA", rows)
	}
	l.drawn = 0
	return "\r" + up + "\x1b[J"
}

// Write writes lines above; after Close, below.
func (l *Live) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return l.out.Write(b)
	}
	var s strings.Builder
	s.WriteString(l.eraseLocked())
	s.Write(b)
	s.WriteString(l.lineLocked())
	if _, err := io.WriteString(l.out, s.String()); err != nil {
		return 0, err
	}
	return len(b), nil
}

// Close draws the line for the last time and ends it. A second Close does nothing.
func (l *Live) Close() {
	l.mu.Lock()
	if l.closed {
		l.mu.Unlock()
		return
	}
	l.closed = true
	io.WriteString(l.out, l.eraseLocked())
	if line := l.lineLocked(); line != "" {
		io.WriteString(l.out, line+"\n")
	}
	l.mu.Unlock()
	close(l.stop)
	l.done.Wait()
}
