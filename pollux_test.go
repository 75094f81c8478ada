package pollux

import (
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/pollux-io/pollux/internal/selector"
)

// A backend that only package loop can use is an error that says so.
func TestLoopsOnlyBackend(t *testing.T) {
	t.Setenv(BackendEnv, "uring")
	_, err := New()
	if !errors.Is(err, ErrBackend) || !strings.Contains(err.Error(), "package loop") {
		t.Error(err)
	}
}

func TestUnknownBackendIsNamed(t *testing.T) {
	usable := Backends()[0].Name
	for _, how := range []struct{ env, option string }{
		{"", "carrier-pigeon"}, {"carrier-pigeon", ""}, {usable, "carrier-pigeon"}, {"carrier-pigeon", usable},
	} {
		t.Run(how.env+"/"+how.option, func(t *testing.T) {
			var options []Option
			t.Setenv(BackendEnv, how.env)
			if how.option != "" {
				options = append(options, Backend(how.option))
			}
			_, err := New(options...)
			if !errors.Is(err, ErrBackend) || !strings.Contains(err.Error(), `"carrier-pigeon"`) {
				t.Errorf("New: %v, want ErrBackend with the unknown name", err)
			}
		})
	}
	if os.Getenv(BackendEnv) == "" {
		q, err := New()
		if err != nil {
			t.Fatal(err)
		}
		defer q.Close()
		found := false
		for _, b := range Backends() {
			found = found || b.Default && b.Name == q.Backend()
		}
		if !found {
			t.Errorf("Backend() = %q, which Backends() does not call the default: %+v", q.Backend(), Backends())
		}
	}
}

func TestBadOptions(t *testing.T) {
	if _, err := New(nil); !errors.Is(err, ErrBadOption) {
		t.Errorf("nil: %v, want ErrBadOption", err)
	}
	for _, d := range []time.Duration{-1, MaxBusyPoll + 1} {
		if _, err := New(BusyPoll(d)); !errors.Is(err, ErrBadOption) {
			t.Errorf("BusyPoll(%v): %v, want ErrBadOption", d, err)
		}
	}
}

func TestStrings(t *testing.T) {
	for got, want := range map[string]string{
		(Readable | Writable).String(): "Readable|Writable",
		Interest(0).String():           "none",
		Edge.String():                  "Edge",
		(Level | Oneshot).String():     "Level|Oneshot",
		Event{token: 7, flags: selector.Closed | selector.ReadableFlag}.String(): "token 7: Readable|Closed",
	} {
		if got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}
