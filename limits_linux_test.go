package pollux_test

import (
	"errors"
	"syscall"
	"testing"

	"github.com/pollux-io/pollux"
	"github.com/pollux-io/pollux/internal/selector/conformance"
)

// Want of descriptors for a moment is told as what it is, and rules no backend out for good.
func TestNewAfterWantOfDescriptors(t *testing.T) {
	if !conformance.InChild(t) {
		return
	}
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	none := limit
	none.Cur = 0
	for _, options := range [][]pollux.Option{nil, {pollux.Backend("epoll")}, {pollux.Backend("poll")}} {
		syscall.Setrlimit(syscall.RLIMIT_NOFILE, &none)
		_, err := pollux.New(options...)
		syscall.Setrlimit(syscall.RLIMIT_NOFILE, &limit)
		if !errors.Is(err, syscall.EMFILE) || errors.Is(err, pollux.ErrBackend) {
			t.Errorf("New without descriptors: %v, want EMFILE", err)
		}
		q, err := pollux.New(options...)
		if err != nil {
			t.Fatalf("New with descriptors again: %v", err)
		}
		q.Close()
	}
}
