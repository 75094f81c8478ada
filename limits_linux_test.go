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
	for _, options := range [][]pollux.Option{nil, {pollux.Backend("epoll")}, {pollux.Backend("poll")}} {
		restore := testkit.LimitDescriptors(t, 0)
		_, err := pollux.New(options...)
		restore()
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
