package report

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/pollux-io/pollux/cmd/pollux/internal/fetch"
	"github.com/pollux-io/pollux/cmd/pollux/internal/termtest"
	"github.com/pollux-io/pollux/internal/testkit"
)

const echo = "^C" // which a terminal prints at the cursor

// The echo of a terminal after the line is erased by the next drawing, by a line above,
// and by Close; the line is never wider than the terminal.
func TestLiveErasesEcho(t *testing.T) {
	testkit.CheckLeaks(t)
	for _, width := range []int{1, 10, 40, 80} {
		s := termtest.NewScreen(width)
		l := newLive(s, s.Width)
		l.render = func() string { return strings.Repeat("x", 60) }
		line := strings.Repeat("x", min(60, max(width-spareColumns, 1)))
		l.draw()
		fmt.Fprint(s, echo)
		l.draw()
		if got := s.String(); got != line && width > 3 {
			t.Errorf("width %d, redrawn: %q, want %q", width, got, line)
		}
		fmt.Fprint(s, echo)
		fmt.Fprintln(l, "a")
		fmt.Fprint(s, echo)
		l.Close()
		l.Close()
		fmt.Fprintln(l, "b")
		if got, want := s.String(), "a\n"+line+"\nb\n"; got != want && width > 3 {
			t.Errorf("width %d: %q, want %q", width, got, want)
		}
	}
}

// A terminal that has become narrower has wrapped the line; the whole line is erased.
func TestLiveOnNarrowedTerminal(t *testing.T) {
	s := termtest.NewScreen(20)
	width := 40
	l := newLive(s, func() int { return width })
	l.render = func() string { return strings.Repeat("x", 30) }
	fmt.Fprintln(s, "above")
	l.draw()
	width = 20
	l.render = func() string { return "short" }
	l.Close()
	if got, want := s.String(), "above\nshort\n"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}

// The bar fits the terminal, and the most important figures remain; failures and warnings are printed above it.
func TestBar(t *testing.T) {
	testkit.CheckLeaks(t)
	for _, width := range []int{20, 40, 80, 200} {
		s := termtest.NewScreen(width)
		b := newBar(s, s.Width, 4)
		b.Received(2048)
		b.Result(&fetch.Result{Job: fetch.NewJob(0, "http://a:secret@h/x"), Err: errors.New("no")}, "")
		to := fetch.NewJob(0, "http://a:secret@h/y").URL
		b.Result(&fetch.Result{Job: fetch.NewJob(0, "https://h/"), Downgrade: to}, "")
		b.Close()
		lines := strings.Split(s.String(), "\n")
		if strings.Join(strings.Fields(strings.Join(lines[:len(lines)-2], "")), "") != "pollux:http://h/x:nopollux:https://h/:warning:itwasredirectedfromhttpstohttp://h/y,soothersmayhavereadandchangedtheanswer" {
			t.Errorf("width %d: no failure or warning in %q", width, lines)
		}
		line := lines[len(lines)-2]
		if !strings.HasPrefix(line, "2/4  50%") || len(line) >= width || width >= 40 && !strings.Contains(line, "2.0 KiB    0s") ||
			width >= 80 && !strings.Contains(line, "[====================--------------------]") {
			t.Errorf("width %d: %q", width, line)
		}
	}
}
