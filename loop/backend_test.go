package loop_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/pollux-io/pollux"
	"github.com/pollux-io/pollux/loop"
)

// A group's backend is selected by name, the environment overrides Config, and an unusable
// backend is an error that names it; it is never replaced.
func TestBackendByName(t *testing.T) {
	usable, refused := map[string]bool{}, map[string]string{}
	for _, b := range loop.Backends() {
		if b.Usable {
			usable[b.Name] = true
		} else {
			refused[b.Name] = b.Why
		}
	}
	open := func(env, name string) (string, error) {
		t.Setenv(pollux.BackendEnv, env)
		g, err := loop.NewGroup(loop.Config{Backend: name, Loops: 1})
		if err != nil {
			return "", err
		}
		defer g.Shutdown(context.Background())
		return g.Backend(), nil
	}
	for name := range usable {
		if got, err := open("", name); got != name || err != nil {
			t.Errorf("Config.Backend %s: got %q, %v", name, got, err)
		}
		for other := range usable {
			if got, err := open(name, other); got != name || err != nil {
				t.Errorf("Config.Backend %s, %s=%s: got %q, %v", other, pollux.BackendEnv, name, got, err)
			}
		}
		if _, err := open(name, "carrier-pigeon"); !errors.Is(err, pollux.ErrBackend) || !strings.Contains(err.Error(), `"carrier-pigeon"`) {
			t.Errorf("Config.Backend carrier-pigeon, %s=%s: got %v, want ErrBackend", pollux.BackendEnv, name, err)
		}
	}
	for name, why := range refused {
		if _, err := open(name, ""); !errors.Is(err, pollux.ErrBackend) || !strings.Contains(err.Error(), why) {
			t.Errorf("%s=%s: got %v, want ErrBackend with %q", pollux.BackendEnv, name, err, why)
		}
	}
	if _, err := open("carrier-pigeon", ""); !errors.Is(err, pollux.ErrBackend) {
		t.Errorf("%s=carrier-pigeon: got %v, want ErrBackend", pollux.BackendEnv, err)
	}
}
