package dns

import (
	"os"
	"testing"

	"github.com/pollux-io/pollux/internal/testkit"
)

// The path of an answer of the system states which function was called.
func TestAddrInfoResolver(t *testing.T) {
	testkit.CheckLeaks(t)
	r := must(New(Config{}))
	defer r.Close()
	name := must(os.Hostname())
	a, err := r.Lookup(t.Context(), name)
	if err != nil || len(a.Addrs) == 0 || a.Path != PathAddrInfoEx {
		t.Errorf("this computer's name %s: %+v, %v", name, a, err)
	}
}
