//go:build !windows

package leaktest

import "os"

// open counts descriptors, where the system can tell.
func open() int {
	f, err := os.Open("/dev/fd")
	if err != nil {
		return 0
	}
	defer f.Close()
	names, _ := f.Readdirnames(-1)
	return len(names)
}
