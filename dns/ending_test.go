package dns

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"sync"
	"testing"

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
		var logged lockedBuffer
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
		if logged.contains("panic") {
			t.Fatalf("%.1000s", logged.b.String())
		}
	}
}

// A lockedBuffer is a buffer for any goroutine.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *lockedBuffer) contains(text string) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return bytes.Contains(b.b.Bytes(), []byte(text))
}
