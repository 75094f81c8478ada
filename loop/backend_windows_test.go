package loop_test

import (
	"errors"
	"testing"

	"github.com/pollux-io/pollux"
	"github.com/pollux-io/pollux/loop"
)

// The overlapped driver is taken if it is asked for, by the configuration or by the
// environment, which wins; else the Poll's backend is.
func TestOverlappedIsAskedFor(t *testing.T) {
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
				t.Errorf("%+v: %v", c, err)
			}
			continue
		}
		if got := g.Backend(); got != c.want {
			t.Errorf("%+v: %s", c, got)
		}
		if err := g.Shutdown(t.Context()); err != nil {
			t.Error(err)
		}
	}
}
