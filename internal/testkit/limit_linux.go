package testkit

import (
	"sync"
	"syscall"
	"testing"
)

// LimitDescriptors lets this process open free more descriptors, until restore is called or the
// test ends. The limit is the whole process's: run such tests in a child (InChild) unless
// nothing else can need a descriptor meanwhile.
func LimitDescriptors(t testing.TB, free int) (restore func()) {
	t.Helper()
	var old syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &old); err != nil {
		t.Fatal("getrlimit: ", err)
	}
	// The limit is on descriptor numbers, so it is the number of the descriptor after the free ones.
	// It is not lower than what is open: poll(2) rejects more descriptors than the limit.
	var last int
	for range free + 1 {
		fd, err := syscall.Dup(0)
		if err != nil {
			t.Fatal("dup: ", err)
		}
		defer syscall.Close(fd)
		last = fd
	}
	low := old
	low.Cur = uint64(last)
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &low); err != nil {
		t.Skip("skipped: the limit of descriptors cannot be lowered here: ", err)
	}
	restore = sync.OnceFunc(func() {
		if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &old); err != nil {
			t.Error("setrlimit: ", err)
		}
	})
	t.Cleanup(restore)
	return restore
}
