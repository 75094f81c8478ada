//go:build unix

package doctor

import (
	"os"

	"golang.org/x/sys/unix"
)

// thisMachine has files only: the rest are resource limits.
func thisMachine() machine { return machine{files: os.DirFS("/")} }

func kernel() string {
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		return "unknown"
	}
	return unix.ByteSliceToString(u.Sysname[:]) + " " + unix.ByteSliceToString(u.Release[:])
}
