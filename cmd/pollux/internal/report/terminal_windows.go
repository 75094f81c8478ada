package report

import (
	"os"

	"golang.org/x/sys/windows"
)

// echoes: a console does not echo ^C to a program that does not read it.
const echoes = false

// control reports whether f understands control sequences. Consoles do since Windows 10,
// after control has enabled that.
func control(f *os.File) bool {
	var mode uint32
	h := windows.Handle(f.Fd())
	if err := windows.GetConsoleMode(h, &mode); err != nil {
		return false
	}
	if mode&windows.ENABLE_VIRTUAL_TERMINAL_PROCESSING != 0 {
		return true
	}
	return windows.SetConsoleMode(h, mode|windows.ENABLE_VIRTUAL_TERMINAL_PROCESSING) == nil
}
