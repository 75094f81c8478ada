package conformance

import (
	"os"
	"sync"
	"syscall"
)

// takeDescriptors leaves this process out of file descriptors until restore.
func takeDescriptors() (restore func(), err error) {
	var old syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &old); err != nil {
		return nil, err
	}
	// The limit is on descriptor numbers, so set it to the lowest free one.
	f, err := os.Open("/dev/null")
	if err != nil {
		return nil, err
	}
	none := old
	none.Cur = uint64(f.Fd())
	f.Close()
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &none); err != nil {
		return nil, err
	}
	return sync.OnceFunc(func() { syscall.Setrlimit(syscall.RLIMIT_NOFILE, &old) }), nil
}
