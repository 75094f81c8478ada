package pollux_test

import (
	"errors"
	"syscall"
	"testing"

	"github.com/pollux-io/pollux"
	"github.com/pollux-io/pollux/internal/testkit"
)

// A transient lack of descriptors is returned as EMFILE and does not rule out a backend
// permanently.
func TestNewAfterEMFILE(t *testing.T) {
	if !testkit.InChild(t) {
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
