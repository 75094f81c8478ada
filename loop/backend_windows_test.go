package loop_test

import (
	"errors"
	"testing"

	"github.com/pollux-io/pollux"
	"github.com/pollux-io/pollux/loop"
)

// The overlapped driver is used only if Config or the environment, which has precedence,
// selects it; the default is the Poll's backend.
func TestOverlappedIsSelected(t *testing.T) {
	for _, c := range []struct{ config, env, want string }{
		{"", "", "iocp"},
		{"overlapped", "", "overlapped"},
		{"", "overlapped", "overlapped"},
		{"iocp", "overlapped", "overlapped"},
		{"overlapped", "iocp", "iocp"},
		{"carrier-pigeon", "overlapped", ""},
		{"overlapped", "carrier-pigeon", ""},
	} {
		t.Setenv(pollux.BackendEnv, c.env)
		g, err := loop.NewGroup(loop.Config{Backend: c.config, Loops: 1})
		if err != nil {
			if c.want != "" || !errors.Is(err, pollux.ErrBackend) {
				t.Errorf("%+v: NewGroup: %v", c, err)
			}
			continue
		}
		if got := g.Backend(); got != c.want {
			t.Errorf("%+v: got backend %s", c, got)
		}
		if err := g.Shutdown(t.Context()); err != nil {
			t.Error(err)
		}
	}
}
