//go:build unix

package ready

import (
	"errors"
	"net/netip"
	"testing"
	"time"

	"github.com/pollux-io/pollux/internal/driver"
	"github.com/pollux-io/pollux/internal/queue"
	"github.com/pollux-io/pollux/internal/selector"
	"github.com/pollux-io/pollux/internal/selector/poll"
	"github.com/pollux-io/pollux/internal/sys"
	"github.com/pollux-io/pollux/internal/testkit"
	"github.com/pollux-io/pollux/sock"
)

var errRefused = errors.New("out of resources")

// refusing is a selector that refuses the next registrations and changes, as AFD's may. A
// refused change still sets the registration's new key.
type refusing struct {
	selector.Selector
	refuse int // how many calls to refuse
}

func (r *refusing) Add(fd sys.FD, key selector.Key, i selector.Interest, t selector.Trigger) error {
	if r.refuse > 0 {
		r.refuse--
		return errRefused
	}
	return r.Selector.Add(fd, key, i, t)
}

func (r *refusing) Modify(fd sys.FD, old, key selector.Key, i selector.Interest, t selector.Trigger) error {
	err := r.Selector.Modify(fd, old, key, i, t)
	if r.refuse > 0 {
		r.refuse--
		return errRefused
	}
	return err
}

// events records a stream's upcalls.
type events struct {
	received            int
	sents, failures     int
	sent, ended, failed error
}

func (u *events) Received(b []byte) bool { u.received += len(b); return true }
func (u *events) Connected(error)        {}
func (u *events) ReceiveEnded(err error) { u.ended = err }
func (u *events) Sent(_ int, err error)  { u.sents++; u.sent = err }
func (u *events) Failed(err error)       { u.failures++; u.failed = err }
func (u *events) Released()              {}

// If the Poll refuses to register a stream for Writable, the driver tries once more. If the Poll
// refuses again, the stream has failed, and its received data is still delivered: the stream is
// not left without events.
func TestPollRefusesToWatchWritable(t *testing.T) {
	for _, refusals := range []int{1, 2} {
		inner, err := poll.Open(selector.Config{})
		if err != nil {
			t.Fatal(err)
		}
		sel := &refusing{Selector: inner}
		d, err := OpenOn(queue.New("poll", sel), driver.Config{ScratchBytes: 4 << 10, BudgetBytes: 4 << 10})
		if err != nil {
			t.Fatal(err)
		}
		u := &events{}
		s, peer := connected(t, u)
		turn := func() {
			t.Helper()
			if err := d.Turn(10 * time.Second); err != nil {
				t.Fatal(err)
			}
		}
		if err := d.Attach(s); err != nil {
			t.Fatal(err)
		}
		if n, err := peer.Write(make([]byte, 10_000)); n != 10_000 {
			t.Fatal(n, err)
		}
		sel.refuse = refusals
		block := make([]byte, 1<<20)
		for s.Flags&blocked == 0 {
			if _, err := d.Send(s, [][]byte{block}); err != nil {
				t.Fatal(err)
			}
		}
		d.Resume(s)
		if refusals == 1 {
			for u.sents == 0 {
				drain(peer)
				turn()
			}
			if u.sent != nil || u.failures > 0 {
				t.Errorf("after one refusal: Sent(%v), Failed(%v)", u.sent, u.failed)
			}
		} else {
			for u.failures == 0 {
				turn()
			}
			if !errors.Is(u.sent, errRefused) || u.sents != 1 || !errors.Is(u.failed, errRefused) {
				t.Errorf("after two refusals: Sent(%v), %d times, Failed(%v)", u.sent, u.sents, u.failed)
			}
		}
		for u.received < 10_000 {
			turn()
		}
		if u.failures > 1 || u.ended != nil {
			t.Errorf("Failed came %d times, ReceiveEnded(%v)", u.failures, u.ended)
		}
		d.Release(s)
		turn()
		peer.Close()
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	}
}

func drain(peer *sock.TCPStream) {
	for b := make([]byte, 1<<20); ; {
		if n, err := peer.Read(b); n == 0 || err != nil {
			return
		}
	}
}

// connected returns a stream that is not attached, and its peer.
func connected(t *testing.T, u driver.StreamUpcalls) (*driver.Stream, *sock.TCPStream) {
	t.Helper()
	ln, err := sock.ListenTCP(netip.MustParseAddrPort("127.0.0.1:0"))
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	peer, err := sock.ConnectTCP(ln.Addr())
	if err != nil {
		t.Fatal(err)
	}
	s := &driver.Stream{Up: u}
	for end := time.Now().Add(testkit.Watchdog); ; {
		err := ln.AcceptInto(&s.Stream)
		if err == nil {
			return s, peer
		}
		if err != sock.ErrWouldBlock || time.Now().After(end) {
			t.Fatal(err)
		}
	}
}

// packetEvents counts the upcalls of a datagram socket.
type packetEvents struct{ received, writable, released int }

func (u *packetEvents) Packets(ms []sock.Message) { u.received += len(ms) }
func (u *packetEvents) Writable()                 { u.writable++ }
func (u *packetEvents) SendFailed(int, error)     {}
func (u *packetEvents) Released()                 { u.released++ }

// If the Poll refuses to register a datagram socket for Writable, each turn tries again: neither
// Writable nor datagrams are lost.
func TestPollRefusesToWatchPacketSocket(t *testing.T) {
	inner, err := poll.Open(selector.Config{})
	if err != nil {
		t.Fatal(err)
	}
	sel := &refusing{Selector: inner}
	d, err := OpenOn(queue.New("poll", sel), driver.Config{ScratchBytes: 4 << 10, BudgetBytes: 4 << 10})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	socket, err := sock.ListenUDP(netip.MustParseAddrPort("127.0.0.1:0"))
	if err != nil {
		t.Fatal(err)
	}
	u := &packetEvents{}
	p := &driver.PacketSocket{UDPSocket: socket, Up: u}
	if err := d.Bind(p); err != nil {
		t.Fatal(err)
	}
	until := func(what string, ok func() bool) {
		t.Helper()
		if !testkit.Eventually(func() bool {
			if !ok() {
				if err := d.Turn(100 * time.Millisecond); err != nil {
					t.Fatal(err)
				}
			}
			return ok()
		}) {
			t.Fatalf("%s did not come", what)
		}
	}
	for _, refusals := range []int{1, 3} {
		sel.refuse = refusals
		*u = packetEvents{}
		d.AwaitWritable(p)
		until("Writable", func() bool { return u.writable == 1 })
		if _, err := socket.WriteTo([]byte("x"), socket.LocalAddr()); err != nil {
			t.Fatal(err)
		}
		until("a datagram", func() bool { return u.received == 1 })
		if sel.refuse != 0 {
			t.Errorf("%d of %d refusals are left: the driver has not tried again", sel.refuse, refusals)
		}
	}
	// After Unbind, a pending Writable is not called.
	sel.refuse = 1
	d.AwaitWritable(p)
	d.Unbind(p)
	*u = packetEvents{}
	d.Turn(0)
	if u.writable > 0 || u.received > 0 {
		t.Errorf("upcalls after Unbind: %+v", u)
	}
}
