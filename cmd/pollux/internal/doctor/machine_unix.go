//go:build unix

package doctor

import (
	"os"

	"golang.org/x/sys/unix"
)

// thisMachine: what there is to know is in files, or is a resource limit.
func thisMachine() machine { return machine{files: os.DirFS("/")} }

func kernel() string {
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		return "unknown"
	}
	return unix.ByteSliceToString(u.Sysname[:]) + " " + unix.ByteSliceToString(u.Release[:])
}
