package dns

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"strings"
	"testing"

	"github.com/pollux-io/pollux/internal/testkit"
	"github.com/pollux-io/pollux/loop"
	"github.com/pollux-io/pollux/sock"
)

// Lookups begin while their loops end, and accept no more functions: nothing panics, and no descriptor is left, which the
// end of the suite checks.
func TestLookupsBeginWhileLoopsEnd(t *testing.T) {
	silent, err := sock.ListenUDP(netip.MustParseAddrPort("127.0.0.1:0"))
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	for range 3 {
		var logged testkit.Buffer
		g, err := loop.NewGroup(loop.Config{Loops: 4, Logger: slog.New(slog.NewTextHandler(&logged, nil))})
		if err != nil {
			t.Fatal(err)
		}
		r, err := New(Config{Group: g, Servers: []netip.AddrPort{silent.LocalAddr()}, Strategy: Evented})
		if err != nil {
			t.Fatal(err)
		}
		const lookups = 4000
		for i := range lookups {
			r.LookupFunc(g.Loops()[i%4], fmt.Sprintf("n%d.", i), func(Answer, error) {})
			if i == lookups/2 {
				ctx, cancel := context.WithCancel(t.Context())
				cancel()
				go g.Shutdown(ctx)
			}
		}
		if err := g.Wait(); err != nil && !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
		r.Close()
		if text := logged.String(); strings.Contains(text, "panic") {
			t.Fatalf("%.1000s", text)
		}
	}
}
