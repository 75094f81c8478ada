//go:build unix

package serve

import (
	"fmt"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

const (
	firstInherited = 3 // SD_LISTEN_FDS_START
	// maxInherited is the maximum of LISTEN_FDS.
	maxInherited = 1024
)

// Inherit returns the sockets that systemd has passed to this process, none if
// LISTEN_PID is another process. It removes the variables from the environment.
func Inherit() ([]Inherited, error) {
	pid, count, names := os.Getenv("LISTEN_PID"), os.Getenv("LISTEN_FDS"), os.Getenv("LISTEN_FDNAMES")
	if pid != strconv.Itoa(os.Getpid()) {
		return nil, nil
	}
	for _, name := range []string{"LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"} {
		os.Unsetenv(name)
	}
	n, err := strconv.Atoi(count)
	if err != nil || n < 0 || n > maxInherited {
		return nil, fmt.Errorf("LISTEN_FDS=%s is not a number from 0 to %d", count, maxInherited)
	}
	var all []Inherited
	for i := range n {
		fd := firstInherited + i
		// If fewer were passed than announced, the descriptor may belong to Go's runtime.
		var st unix.Stat_t
		if err := unix.Fstat(fd, &st); err != nil || st.Mode&unix.S_IFMT != unix.S_IFSOCK {
			for _, i := range all {
				i.Close()
			}
			return nil, fmt.Errorf("LISTEN_FDS=%s, but descriptor %d is not a socket", count, fd)
		}
		unix.CloseOnExec(fd)
		all = append(all, Inherited{os.NewFile(uintptr(fd), fmt.Sprintf("descriptor %d", fd)), nameOf(names, i)})
	}
	return all, nil
}

// nameOf returns the i-th name of LISTEN_FDNAMES.
func nameOf(names string, i int) string {
	all := strings.Split(names, ":")
	if i >= len(all) {
		return ""
	}
	return all[i]
}

// listens reports whether a stream socket listens. If the system does not report that,
// listens returns true: accept fails if it does not.
func listens(f *os.File) bool {
	raw, err := f.SyscallConn()
	if err != nil {
		return true
	}
	value := 1
	raw.Control(func(fd uintptr) {
		if v, err := unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_ACCEPTCONN); err == nil {
			value = v
		}
	})
	return value != 0
}
