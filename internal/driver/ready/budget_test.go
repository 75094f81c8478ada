package ready_test

import (
	"net/netip"
	"testing"
	"time"

	"github.com/pollux-io/pollux/internal/driver"
	"github.com/pollux-io/pollux/internal/driver/ready"
	"github.com/pollux-io/pollux/internal/testkit"
	"github.com/pollux-io/pollux/sock"
)

// turnBytes counts the bytes received in a turn and in all.
type turnBytes struct{ thisTurn, total int }

func (u *turnBytes) Received(b []byte) bool {
	u.thisTurn += len(b)
	u.total += len(b)
	return true
}

func (u *turnBytes) Connected(error)    {}
func (u *turnBytes) ReceiveEnded(error) {}
func (u *turnBytes) Failed(error)       {}
func (u *turnBytes) Sent(int, error)    {}
func (u *turnBytes) Released()          {}

// A turn delivers no more than a stream's budget, even if that is not a multiple of the size of
// one receive.
func TestL5BudgetIsExact(t *testing.T) {
	for _, c := range []driver.Config{
		{ScratchBytes: 4 << 10, BudgetBytes: 10 << 10},
		{ScratchBytes: 64 << 10, BudgetBytes: 10 << 10},
	} {
		ln, err := sock.ListenTCP(netip.MustParseAddrPort("127.0.0.1:0"))
		must(t, err)
		defer ln.Close()
		peer, err := sock.ConnectTCP(ln.Addr())
		must(t, err)
		defer peer.Close()
		d, err := ready.OpenDefault(c)
		must(t, err)
		u := &turnBytes{}
		s := &driver.Stream{Up: u}
		for deadline := time.Now().Add(testkit.Watchdog); ; {
			err := ln.AcceptInto(&s.Stream)
			if err == nil {
				break
			}
			if err != sock.ErrWouldBlock || time.Now().After(deadline) {
				t.Fatal(err)
			}
		}
		sent := make([]byte, 5*c.BudgetBytes+1)
		if n, err := peer.Write(sent); n != len(sent) {
			t.Fatalf("the peer's Write took %d bytes of %d: %v", n, len(sent), err)
		}
		must(t, d.Attach(s))
		d.Resume(s)
		for u.total < len(sent) {
			u.thisTurn = 0
			must(t, d.Turn(10*time.Second))
			if u.thisTurn > c.BudgetBytes {
				t.Errorf("%+v: received %d bytes in one turn", c, u.thisTurn)
			}
		}
		d.Release(s)
		must(t, d.Turn(0))
		must(t, d.Close())
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
