package dns

import (
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/pollux-io/pollux/internal/dnswire"
	"github.com/pollux-io/pollux/internal/testkit"
)

// A resolver asks the system, with the path that tells how.
func TestAddrInfoResolver(t *testing.T) {
	testkit.CheckLeaks(t)
	r := must(New(Config{}))
	defer r.Close()
	name := must(os.Hostname())
	a, err := r.Lookup(t.Context(), name)
	if err != nil || len(a.Addrs) == 0 || a.Path != PathAddrInfoEx {
		t.Errorf("this computer's name %s: %+v, %v", name, a, err)
	}
	name = strings.Repeat("n", dnswire.MaxLabelBytes+1)
	_, err = r.Lookup(t.Context(), name)
	if e, ok := errors.AsType[*Error](err); !ok || e.Path != PathAddrInfoEx || e.Name != name || !errors.Is(err, ErrNotFound) {
		t.Errorf("%#v", err)
	}
}
