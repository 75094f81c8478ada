package report

import (
	"io"
	"os"
	"time"

	"golang.org/x/term"
)

// Terminal returns w if it is a terminal on which a line can be redrawn, and nil
// otherwise.
func Terminal(w io.Writer) *os.File {
	f, ok := w.(*os.File)
	if !ok || os.Getenv("TERM") == "dumb" {
		return nil
	}
	width, height, err := term.GetSize(int(f.Fd()))
	if err != nil || width <= 0 || height <= 0 || !control(f) {
		return nil
	}
	return f
}

const (
	// echoWait is for the kernel to echo ^C: Linux sends the signal first, and there is
	// no event for the echo.
	echoWait = 10 * time.Millisecond
	// echoColumns is the width of ^C.
	echoColumns = 2
)

// EraseEcho removes the ^C that a terminal echoes at the cursor when it sends an
// interrupt, so that the next output does not follow it. Call it before the run is notified
// of the interrupt. If w is not a terminal it does nothing.
func EraseEcho(w io.Writer) {
	f, ok := w.(*os.File)
	if !ok || !echoes || !term.IsTerminal(int(f.Fd())) {
		return
	}
	time.Sleep(echoWait)
	io.WriteString(f, "\b\b  \b\b") // at the beginning of a line, where nothing was echoed, this changes nothing
}
