package termtest

import (
	"fmt"
	"io"
	"os"
	"testing"

	"golang.org/x/sys/unix"
)

// Pty returns both ends of a new terminal of the given width. The output of the controlling
// end is drawn on the screen, until all descriptors of the program's end are closed; then
// drawn is closed.
func Pty(t *testing.T, width int) (control, program *os.File, screen *Screen, drawn <-chan struct{}) {
	t.Helper()
	control, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	if err != nil {
		t.Skipf("skipped: this machine has no pseudoterminals: %v", err)
	}
	t.Cleanup(func() { control.Close() })
	fd := int(control.Fd())
	number, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	if err == nil {
		err = unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0)
	}
	if err == nil {
		err = unix.IoctlSetWinsize(fd, unix.TIOCSWINSZ, &unix.Winsize{Row: 24, Col: uint16(width)})
	}
	if err != nil {
		t.Fatal(err)
	}
	program, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", number), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	screen = NewScreen(width)
	done := make(chan struct{})
	go func() {
		defer close(done)
		io.Copy(screen, control) // EIO at the end
	}()
	return control, program, screen, done
}
