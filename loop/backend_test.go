package loop_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/pollux-io/pollux"
	"github.com/pollux-io/pollux/loop"
)

// A loop's backend is asked for by name, the environment wins, and what cannot be had
// is refused by its name, never replaced.
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
			t.Errorf("Config.Backend %s: %s, %v", name, got, err)
		}
		for other := range usable {
			if got, err := open(name, other); got != name || err != nil {
				t.Errorf("%s=%s over %s: %s, %v", pollux.BackendEnv, name, other, got, err)
			}
		}
		if _, err := open(name, "carrier-pigeon"); !errors.Is(err, pollux.ErrBackend) || !strings.Contains(err.Error(), `"carrier-pigeon"`) {
			t.Errorf("a pigeon under %s: %v", name, err)
		}
	}
	for name, why := range refused {
		if _, err := open(name, ""); !errors.Is(err, pollux.ErrBackend) || !strings.Contains(err.Error(), why) {
			t.Errorf("%s: %v, want %q", name, err, why)
		}
	}
	if _, err := open("carrier-pigeon", ""); !errors.Is(err, pollux.ErrBackend) {
		t.Errorf("a pigeon: %v", err)
	}
}
