package kqtest

import (
	"errors"
	"net/netip"
	"os"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/pollux-io/pollux/internal/selector/kqueue"
	"github.com/pollux-io/pollux/internal/sys"
	"github.com/pollux-io/pollux/internal/testkit"
	"github.com/pollux-io/pollux/sock"
)

// Each test names the system whose behaviour it checks: N is NetBSD 7.99, F is
// FreeBSD 9.1, whose kqueue code was observed; kqueue(2) is the manual page.

type fixture struct {
	testing.TB
	k  *Kernel
	kq sys.FD
}

func eachFlavour(t *testing.T, f func(b fixture), flavours ...Flavour) {
	if len(flavours) == 0 {
		flavours = Flavours()
	}
	for _, flavour := range flavours {
		t.Run(flavour.Name, func(t *testing.T) {
			flavour.Interrupts = 0
			k := New(flavour)
			kq, e := k.Kqueue()
			if e != 0 {
				t.Fatal(e)
			}
			defer k.Close(kq)
			f(fixture{t, k, kq})
		})
	}
}

func (b fixture) pair() (x, y sys.FD) {
	p, e := sys.Socketpair(sys.SOCK_STREAM)
	if e != 0 {
		b.Fatal(e)
	}
	b.Cleanup(func() { sys.Close(p[0]); sys.Close(p[1]) })
	return p[0], p[1]
}

func (b fixture) pipe() (r, w sys.FD) {
	r, w, e := sys.Pipe()
	if e != 0 {
		b.Fatal(e)
	}
	b.Cleanup(func() { sys.Close(r); sys.Close(w) })
	return r, w
}

// change makes one change, without an event list.
func (b fixture) change(fd sys.FD, f kqueue.Filter, flags uint16) syscall.Errno {
	_, e := b.k.Kevent(b.kq, []kqueue.Kevent{{Ident: uint64(fd), Filter: f, Flags: flags, Udata: 7}}, nil, &kqueue.Timespec{})
	return e
}

func (b fixture) must(fd sys.FD, f kqueue.Filter, flags uint16) {
	b.Helper()
	if e := b.change(fd, f, flags); e != 0 {
		b.Fatalf("change %#x: %v", flags, e)
	}
}

// now returns the events that are ready.
func (b fixture) now() []kqueue.Kevent {
	b.Helper()
	events := make([]kqueue.Kevent, 8)
	n, e := b.k.Kevent(b.kq, nil, events, &kqueue.Timespec{})
	if e != 0 {
		b.Fatal(e)
	}
	return events[:n]
}

// expect returns the events that are ready and fails unless there are n.
func (b fixture) expect(n int, why string) []kqueue.Kevent {
	b.Helper()
	events := b.now()
	if len(events) != n {
		b.Fatalf("%s: %d events, want %d: %+v", why, len(events), n, events)
	}
	return events
}

func write(fd sys.FD)                 { sys.Write(fd, []byte("data")) }
func read(fd sys.FD, n int)           { sys.Read(fd, make([]byte, n)) }
func has(k kqueue.Kevent, f int) bool { return int(k.Flags)&f == f }

// EV_CLEAR: one event per edge; new data fires also while old data is unread; a
// partial read does not fire (observed on N and F).
func TestClear(t *testing.T) {
	eachFlavour(t, func(b fixture) {
		x, y := b.pair()
		b.must(x, kqueue.FilterRead, kqueue.FlagAdd|kqueue.FlagClear)
		b.expect(0, "no data")
		write(y)
		ev := b.expect(1, "data")[0]
		if ev.Data != 4 || ev.Udata != 7 || ev.Ident != uint64(x) || ev.Filter != kqueue.FilterRead {
			b.Errorf("%+v: want 4 bytes unread, and the user data", ev)
		}
		b.expect(0, "reported once")
		write(y)
		b.expect(1, "new data, old data unread")
		read(x, 2)
		b.expect(0, "a partial read")
	})
}

// Without EV_CLEAR, EV_ONESHOT and EV_DISPATCH every call returns an event while
// its condition holds (kqueue(2)).
func TestLevel(t *testing.T) {
	eachFlavour(t, func(b fixture) {
		x, y := b.pair()
		b.must(x, kqueue.FilterRead, kqueue.FlagAdd)
		write(y)
		for range 3 {
			b.expect(1, "level")
		}
		read(x, 9)
		b.expect(0, "drained")
	})
}

// Adding a knote again fires if data is unread or EOF is pending (N and F).
func TestAddAgain(t *testing.T) {
	eachFlavour(t, func(b fixture) {
		x, y := b.pair()
		b.must(x, kqueue.FilterRead, kqueue.FlagAdd|kqueue.FlagClear)
		write(y)
		b.expect(1, "data")
		b.must(x, kqueue.FilterRead, kqueue.FlagAdd|kqueue.FlagClear)
		b.expect(1, "added again with unread data")
		read(x, 9)
		sys.Shutdown(y, sys.SHUT_WR)
		b.expect(1, "EOF")
		b.must(x, kqueue.FilterRead, kqueue.FlagAdd|kqueue.FlagClear)
		b.expect(1, "added again with EOF pending")
		b.expect(0, "reported once")
	})
}

// Adding a knote again without EV_CLEAR does not change its mode (N and F).
func TestAddAgainKeepsMode(t *testing.T) {
	eachFlavour(t, func(b fixture) {
		x, y := b.pair()
		b.must(x, kqueue.FilterRead, kqueue.FlagAdd|kqueue.FlagClear)
		b.must(x, kqueue.FilterRead, kqueue.FlagAdd)
		write(y)
		b.expect(1, "data")
		b.expect(0, "still EV_CLEAR")
		b.must(x, kqueue.FilterRead, kqueue.FlagDelete)
		b.must(x, kqueue.FilterRead, kqueue.FlagAdd)
		b.expect(1, "level")
		b.expect(1, "level, second call")
	})
}

// N's pipes give extra edges: a partial read fires READ again, and each write fires WRITE
// again. Neither happens on sockets.
func TestExtraPipeEdges(t *testing.T) {
	eachFlavour(t, func(b fixture) {
		extra := 0
		if b.k.ExtraPipeEdges {
			extra = 1
		}
		r, w := b.pipe()
		b.must(r, kqueue.FilterRead, kqueue.FlagAdd|kqueue.FlagClear)
		b.must(w, kqueue.FilterWrite, kqueue.FlagAdd|kqueue.FlagClear)
		b.expect(1, "writable")
		write(w)
		b.expect(1+extra, "data, and a write")
		b.expect(0, "once")
		read(r, 2)
		b.expect(extra, "a partial read")
		b.expect(0, "once")
		read(r, 2)
		b.expect(0, "drained")

		x, y := b.pair()
		b.must(x, kqueue.FilterRead, kqueue.FlagAdd|kqueue.FlagClear)
		b.must(y, kqueue.FilterWrite, kqueue.FlagAdd|kqueue.FlagClear)
		b.expect(1, "a writable socket")
		write(y)
		b.expect(1, "data; the write does not fire WRITE")
		read(x, 2)
		b.expect(0, "a partial read of a socket")
	})
}

// EV_DISPATCH disables a knote that has been reported. With unread data, EV_ENABLE
// alone fires on F, not on N; with EV_ADD it fires on both.
func TestDispatch(t *testing.T) {
	eachFlavour(t, func(b fixture) {
		x, y := b.pair()
		b.must(x, kqueue.FilterRead, kqueue.FlagAdd|kqueue.FlagDispatch)
		write(y)
		b.expect(1, "data")
		write(y)
		read(x, 4)
		b.expect(0, "disabled")
		b.must(x, kqueue.FilterRead, kqueue.FlagAdd|kqueue.FlagEnable|kqueue.FlagDispatch)
		b.expect(1, "enabled by EV_ADD|EV_ENABLE|EV_DISPATCH")
		b.must(x, kqueue.FilterRead, kqueue.FlagEnable)
		want := 0
		if b.k.EnableFires {
			want = 1
		}
		b.expect(want, "EV_ENABLE alone")
	})
}

// With EV_CLEAR|EV_DISPATCH, N ignores EV_DISPATCH.
func TestClearAndDispatch(t *testing.T) {
	eachFlavour(t, func(b fixture) {
		x, y := b.pair()
		b.must(x, kqueue.FilterRead, kqueue.FlagAdd|kqueue.FlagClear|kqueue.FlagDispatch)
		write(y)
		b.expect(1, "data")
		write(y)
		want := 0
		if b.k.ClearBeatsDispatch {
			want = 1
		}
		b.expect(want, "new data")
	}, FreeBSD, NetBSD)
}

// An EV_ONESHOT knote is deleted after it has fired: EV_DELETE is ENOENT then. N can
// report it after a drain, although it is stale; OpenBSD's filters skip the second
// check, too (filt_pipereadprocess in its sys_pipe.c).
func TestOneshot(t *testing.T) {
	eachFlavour(t, func(b fixture) {
		x, y := b.pair()
		b.must(x, kqueue.FilterRead, kqueue.FlagAdd|kqueue.FlagOneshot)
		write(y)
		b.expect(1, "data")
		if e := b.change(x, kqueue.FilterRead, kqueue.FlagDelete); e != syscall.ENOENT {
			b.Errorf("EV_DELETE after the event: %v, want ENOENT", e)
		}
		b.must(x, kqueue.FilterRead, kqueue.FlagAdd|kqueue.FlagOneshot)
		read(x, 9)
		want := 0
		if b.k.StaleOneshot {
			want = 1
		}
		b.expect(want, "drained before it was reported")
	})
}

// N before 1.140 of kern_event.c: kevent(2) takes an EV_ONESHOT knote and detaches it
// later. An EV_ADD in between is lost although it returns 0.
func TestOneshotRace(t *testing.T) {
	eachFlavour(t, func(b fixture) {
		x, y := b.pair()
		write(y)
		b.must(x, kqueue.FilterRead, kqueue.FlagAdd|kqueue.FlagOneshot)
		raced := false
		b.k.Detaching = func() {
			raced = true
			b.must(x, kqueue.FilterRead, kqueue.FlagAdd|kqueue.FlagOneshot)
		}
		b.expect(1, "the oneshot event")
		b.k.Detaching = func() {}
		if !b.k.OneshotRace {
			if raced {
				b.Error("the queue was unlocked between taking and detaching")
			}
			b.must(x, kqueue.FilterRead, kqueue.FlagAdd|kqueue.FlagOneshot)
			b.expect(1, "added again")
			return
		}
		b.expect(0, "the EV_ADD was lost")
		if e := b.change(x, kqueue.FilterRead, kqueue.FlagDelete); e != syscall.ENOENT {
			b.Errorf("EV_DELETE after the lost EV_ADD: %v, want ENOENT", e)
		}
	}, FreeBSD, NetBSD)
}

// With the same race, two calls that take the knote free it twice, as do one call and an
// EV_DELETE.
func TestOneshotIsFreedTwice(t *testing.T) {
	for what, meanwhile := range map[string]func(b fixture, x sys.FD){
		"EV_ADD and a second call": func(b fixture, x sys.FD) {
			b.must(x, kqueue.FilterRead, kqueue.FlagAdd|kqueue.FlagOneshot)
			b.expect(1, "the second call")
		},
		"EV_DELETE": func(b fixture, x sys.FD) { b.must(x, kqueue.FilterRead, kqueue.FlagDelete) },
	} {
		eachFlavour(t, func(b fixture) {
			var faults []string
			b.k.Fault = func(what string) { faults = append(faults, what) }
			x, y := b.pair()
			write(y)
			b.must(x, kqueue.FilterRead, kqueue.FlagAdd|kqueue.FlagOneshot)
			b.k.Detaching = func() {
				b.k.Detaching = func() {}
				meanwhile(b, x)
			}
			b.expect(1, "the first call")
			if len(faults) != 1 {
				b.Errorf("%s: faults %q, want one", what, faults)
			}
		}, NetBSD)
	}
}

// EV_DISPATCH has no such race: a knote added again while another call takes its event is
// reported (N: 0 of 10,000 lost).
func TestDispatchIsNotLost(t *testing.T) {
	eachFlavour(t, func(b fixture) {
		x, y := b.pair()
		write(y)
		const again = kqueue.FlagAdd | kqueue.FlagEnable | kqueue.FlagDispatch
		b.must(x, kqueue.FilterRead, again)
		taken := make(chan int, 1)
		for range 2000 {
			go func() {
				n, _ := b.k.Kevent(b.kq, nil, make([]kqueue.Kevent, 1), &kqueue.Timespec{})
				taken <- n
			}()
			b.must(x, kqueue.FilterRead, again)
			if <-taken == 0 {
				b.expect(1, "added again, and not taken")
			}
			b.must(x, kqueue.FilterRead, again)
			b.expect(1, "added again after it was taken")
			b.must(x, kqueue.FilterRead, again)
		}
	})
}

// EV_RECEIPT: each change gets an EV_ERROR entry, with data 0 if it succeeded, in
// order, and no events are returned with them (kqueue(2); N and F).
func TestReceipt(t *testing.T) {
	eachFlavour(t, func(b fixture) {
		x, y := b.pair()
		write(y)
		b.must(x, kqueue.FilterRead, kqueue.FlagAdd)
		changes := []kqueue.Kevent{
			{Ident: uint64(x), Filter: kqueue.FilterWrite, Flags: kqueue.FlagAdd | kqueue.FlagReceipt},
			{Ident: uint64(y), Filter: kqueue.FilterRead, Flags: kqueue.FlagDelete | kqueue.FlagReceipt},
			{Ident: uint64(y), Filter: kqueue.FilterWrite, Flags: kqueue.FlagAdd | kqueue.FlagReceipt},
		}
		events := make([]kqueue.Kevent, 8)
		n, e := b.k.Kevent(b.kq, changes, events, &kqueue.Timespec{})
		if n != 3 || e != 0 {
			b.Fatalf("%d receipts, %v", n, e)
		}
		for i, want := range []syscall.Errno{0, syscall.ENOENT, 0} {
			if !has(events[i], kqueue.FlagError) || syscall.Errno(events[i].Data) != want || events[i].Ident != changes[i].Ident {
				b.Errorf("receipt %d is %+v, want %v", i, events[i], want)
			}
		}
		b.expect(3, "the events of the three knotes")
	})
}

// With fewer events than changes the call returns 0 although receipts were
// written, and later changes are skipped (N and F).
func TestTooFewReceipts(t *testing.T) {
	eachFlavour(t, func(b fixture) {
		x, _ := b.pair()
		changes := []kqueue.Kevent{
			{Ident: uint64(x), Filter: kqueue.FilterRead, Flags: kqueue.FlagAdd | kqueue.FlagReceipt},
			{Ident: uint64(x), Filter: kqueue.FilterWrite, Flags: kqueue.FlagAdd | kqueue.FlagReceipt},
			{Ident: 0, Filter: kqueue.FilterUser, Flags: kqueue.FlagAdd | kqueue.FlagReceipt},
		}
		if n, e := b.k.Kevent(b.kq, changes, make([]kqueue.Kevent, 1), &kqueue.Timespec{}); n != 0 || e != 0 {
			b.Errorf("%d, %v", n, e)
		}
		if e := b.change(0, kqueue.FilterUser, kqueue.FlagDelete); e != syscall.ENOENT {
			b.Errorf("the third change was made (%v)", e)
		}
	}, FreeBSD)
}

// With an event list, a failing change gets an EV_ERROR entry and later changes
// still apply; without, the call fails and skips them (kqueue(2); N and F).
func TestFailingChange(t *testing.T) {
	eachFlavour(t, func(b fixture) {
		x, _ := b.pair()
		changes := []kqueue.Kevent{
			{Ident: uint64(x), Filter: kqueue.FilterRead, Flags: kqueue.FlagDelete},
			{Ident: uint64(x), Filter: kqueue.FilterWrite, Flags: kqueue.FlagAdd},
		}
		if n, e := b.k.Kevent(b.kq, changes, nil, &kqueue.Timespec{}); n != 0 || e != syscall.ENOENT {
			b.Errorf("without an event list: %d, %v", n, e)
		}
		b.expect(0, "the second change was skipped")
		events := make([]kqueue.Kevent, 4)
		if n, e := b.k.Kevent(b.kq, changes, events, &kqueue.Timespec{}); n != 1 || e != 0 || syscall.Errno(events[0].Data) != syscall.ENOENT {
			b.Errorf("with an event list: %d, %v, %+v", n, e, events[0])
		}
		b.expect(1, "the second change was made")
	})
}

// EOF: a peer's SHUT_WR gives READ with EV_EOF, and data is the number of unread
// bytes. Returned flags include EV_ADD on N.
func TestEOF(t *testing.T) {
	eachFlavour(t, func(b fixture) {
		x, y := b.pair()
		b.must(x, kqueue.FilterRead, kqueue.FlagAdd|kqueue.FlagClear)
		write(y)
		sys.Shutdown(y, sys.SHUT_WR)
		ev := b.expect(1, "data and EOF")[0]
		if !has(ev, kqueue.FlagEOF) || ev.Data != 4 || ev.Fflags != 0 || has(ev, kqueue.FlagAdd) != b.k.EventsHaveAdd {
			b.Errorf("%+v", ev)
		}
	})
}

func tcp(t testing.TB) (a, b *sock.TCPStream) {
	t.Helper()
	l, err := sock.ListenTCP(netip.MustParseAddrPort("127.0.0.1:0"))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if b, err = sock.ConnectTCP(l.Addr()); err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(testkit.Watchdog); time.Now().Before(end); {
		if a, err = l.Accept(); err == nil {
			t.Cleanup(func() { a.Close(); b.Close() })
			return a, b
		}
	}
	t.Fatal(err)
	return nil, nil
}

func number(d interface {
	SyscallConn() (syscall.RawConn, error)
},
) (fd sys.FD) {
	raw, _ := d.SyscallConn()
	raw.Control(func(n uintptr) { fd = sys.FD(n) })
	return fd
}

// On TCP a peer's FIN gives READ with EV_EOF and no EOF for WRITE; an RST gives
// both, with fflags ECONNRESET (N). A local shutdown gives EV_EOF, too (macOS:
// mio#1087).
func TestTCPEnds(t *testing.T) {
	eachFlavour(t, func(b fixture) {
		filters := func() (read, write kqueue.Kevent) {
			b.Helper()
			for _, ev := range b.now() {
				if ev.Filter == kqueue.FilterRead {
					read = ev
				} else {
					write = ev
				}
			}
			return read, write
		}
		x, y := tcp(b)
		fd := number(x)
		b.must(fd, kqueue.FilterRead, kqueue.FlagAdd)
		b.must(fd, kqueue.FilterWrite, kqueue.FlagAdd)
		y.CloseWrite()
		if r, w := filters(); !has(r, kqueue.FlagEOF) || has(w, kqueue.FlagEOF) || w.Filter == 0 {
			b.Errorf("FIN: %+v, %+v", r, w)
		}
		x.CloseWrite()
		if _, w := filters(); !has(w, kqueue.FlagEOF) || w.Fflags != 0 {
			b.Errorf("local shutdown: %+v", w)
		}

		x, y = tcp(b)
		fd = number(x)
		b.must(fd, kqueue.FilterRead, kqueue.FlagAdd)
		b.must(fd, kqueue.FilterWrite, kqueue.FlagAdd)
		y.SetLinger(0)
		y.Close()
		reset := uint32(syscall.ECONNRESET)
		if r, w := filters(); !has(r, kqueue.FlagEOF) || !has(w, kqueue.FlagEOF) || r.Fflags != reset || w.Fflags != reset {
			b.Errorf("RST: %+v, %+v", r, w)
		}
	})
}

// A refused connect gives READ and WRITE with EV_EOF, fflags ECONNREFUSED (N).
func TestRefused(t *testing.T) {
	eachFlavour(t, func(b fixture) {
		l, err := sock.ListenTCP(netip.MustParseAddrPort("127.0.0.1:0"))
		if err != nil {
			b.Fatal(err)
		}
		addr := l.Addr()
		l.Close()
		c, err := sock.ConnectTCP(addr)
		if err != nil {
			b.Skipf("connect was refused immediately: %v", err)
		}
		defer c.Close()
		b.must(number(c), kqueue.FilterRead, kqueue.FlagAdd)
		b.must(number(c), kqueue.FilterWrite, kqueue.FlagAdd)
		for _, ev := range b.expect(2, "READ and WRITE") {
			if !has(ev, kqueue.FlagEOF) || ev.Fflags != uint32(syscall.ECONNREFUSED) {
				b.Errorf("%+v", ev)
			}
		}
	})
}

// When the other end is closed, Unix sockets and pipes give WRITE with EV_EOF (N).
// Adding EVFILT_WRITE to a pipe whose reader is closed fails: EPIPE (FreeBSD,
// OpenBSD, macOS: mio#582) or EBADF (NetBSD, pipe_kqfilter in its sys_pipe.c).
func TestWriteEOF(t *testing.T) {
	eachFlavour(t, func(b fixture) {
		x, y := b.pair()
		r, w := b.pipe()
		b.must(x, kqueue.FilterWrite, kqueue.FlagAdd|kqueue.FlagClear)
		b.must(w, kqueue.FilterWrite, kqueue.FlagAdd|kqueue.FlagClear)
		b.expect(2, "writable")
		b.now()
		sys.Close(y)
		sys.Close(r)
		for _, ev := range b.expect(2, "the other ends are closed") {
			if !has(ev, kqueue.FlagEOF) {
				b.Errorf("%+v", ev)
			}
		}
		b.must(w, kqueue.FilterWrite, kqueue.FlagDelete)
		if e := b.change(w, kqueue.FilterWrite, kqueue.FlagAdd); e != b.k.BrokenPipe {
			b.Errorf("EV_ADD of a pipe without a reader: %v, want %v", e, b.k.BrokenPipe)
		}
	})
}

// Closing a descriptor drops its knotes and queued events, even while a dup is
// open (N and F; close(2)). A change of a closed descriptor is EBADF (N; kqueue_register
// checks the descriptor first on the others, too).
func TestCloseDropsKnotes(t *testing.T) {
	eachFlavour(t, func(b fixture) {
		x, y := b.pair()
		dup, _ := sys.Dup(x)
		defer sys.Close(dup)
		b.must(x, kqueue.FilterRead, kqueue.FlagAdd)
		write(y)
		sys.Close(x)
		b.expect(0, "closed")
		for _, flags := range []uint16{kqueue.FlagEnable, kqueue.FlagAdd, kqueue.FlagDelete, 0} {
			if e := b.change(x, kqueue.FilterRead, flags); e != syscall.EBADF {
				b.Errorf("change %#x of a closed descriptor: %v, want EBADF", flags, e)
			}
		}
		again, other := b.pair()
		if e := b.change(again, kqueue.FilterRead, 0); e != syscall.ENOENT {
			b.Errorf("a change of the reused number: %v, want ENOENT", e)
		}
		b.must(again, kqueue.FilterRead, kqueue.FlagAdd|kqueue.FlagClear)
		write(y) // makes the old socket readable, which its dup keeps open
		b.expect(0, "the new socket has nothing to read")
		write(other)
		b.expect(1, "the new socket is readable")
	})
}

// EVFILT_WRITE with EV_CLEAR on TCP fires on acknowledgements, although no write has
// blocked: about once in two echoes on F, nine times in ten on N.
func TestAckEdges(t *testing.T) {
	eachFlavour(t, func(b fixture) {
		x, y := tcp(b)
		fd := number(x)
		b.must(fd, kqueue.FilterRead, kqueue.FlagAdd|kqueue.FlagClear)
		b.must(fd, kqueue.FilterWrite, kqueue.FlagAdd|kqueue.FlagClear)
		b.expect(1, "writable")
		writables := 0
		buf := make([]byte, 16)
		for range 10 {
			y.Write([]byte("ping"))
			for _, ev := range b.now() {
				if ev.Filter == kqueue.FilterWrite {
					writables++
				}
			}
			x.Read(buf)
			x.Write([]byte("pong"))
		}
		if writables != b.k.AckEdges {
			b.Errorf("%d WRITE events in ten echoes, want %d", writables, b.k.AckEdges)
		}
	})
}

// EVFILT_USER: a trigger with EV_CLEAR in its flags cancels itself, NOTE_TRIGGER
// in the EV_ADD that makes the knote is ignored (F); Go's definitions for NetBSD
// and OpenBSD lack the filter.
func TestUser(t *testing.T) {
	eachFlavour(t, func(b fixture) {
		send := func(flags uint16, note uint32) syscall.Errno {
			_, e := b.k.Kevent(b.kq, []kqueue.Kevent{{Filter: kqueue.FilterUser, Flags: flags, Fflags: note}}, nil, &kqueue.Timespec{})
			return e
		}
		if e := send(kqueue.FlagAdd|kqueue.FlagClear, kqueue.NoteTrigger); (e == syscall.EINVAL) == b.k.Flavour.Traits.User {
			b.Fatalf("EV_ADD: %v", e)
		} else if e != 0 {
			return
		}
		b.expect(0, "triggered by the EV_ADD that makes the knote")
		send(kqueue.FlagClear, kqueue.NoteTrigger)
		b.expect(0, "triggered with EV_CLEAR")
		send(0, kqueue.NoteTrigger)
		b.expect(1, "triggered with flags 0")
		b.expect(0, "EV_CLEAR")
	})
}

// EVFILT_READ accepts a regular file, as ready (kqueue(2): "when the file pointer is
// not at the end of file"). NOTE_LOWAT delays data but not EOF (kqueue(2)).
func TestFilesAndLowWater(t *testing.T) {
	eachFlavour(t, func(b fixture) {
		f, err := os.Open(os.Args[0])
		if err != nil {
			b.Fatal(err)
		}
		defer f.Close()
		b.must(sys.FD(f.Fd()), kqueue.FilterRead, kqueue.FlagAdd|kqueue.FlagOneshot)
		b.expect(1, "a file is ready")
		x, y := b.pair()
		b.k.Kevent(b.kq, []kqueue.Kevent{{Ident: uint64(x), Filter: kqueue.FilterRead, Flags: kqueue.FlagAdd, Fflags: kqueue.NoteLowat, Data: 100}}, nil, &kqueue.Timespec{})
		write(y)
		b.expect(0, "less than the low-water mark")
		sys.Shutdown(y, sys.SHUT_WR)
		b.expect(1, "EOF")
	})
}

// Urgent data: EVFILT_EXCEPT with NOTE_OOB on macOS, OpenBSD and DragonFly
// (kqueue(2)), EINVAL elsewhere.
func TestExcept(t *testing.T) {
	eachFlavour(t, func(b fixture) {
		x, y := tcp(b)
		_, e := b.k.Kevent(b.kq, []kqueue.Kevent{{Ident: uint64(number(x)), Filter: kqueue.FilterExcept, Flags: kqueue.FlagAdd | kqueue.FlagClear, Fflags: kqueue.NoteOOB}}, nil, &kqueue.Timespec{})
		if (e == syscall.EINVAL) == b.k.Flavour.Traits.Except {
			b.Fatalf("EV_ADD: %v", e)
		} else if e != 0 {
			return
		}
		y.Write([]byte("x"))
		b.expect(0, "ordinary data")
		sys.Send(number(y), []byte("!"), sys.MSG_OOB)
		b.expect(1, "urgent data")
	})
}

// Timeouts are never early and are rounded up to the kernel's clock (N at 100 Hz:
// 50 ms took 60, 1 µs to 10 ms took 20 ms); an invalid timespec is EINVAL.
func TestTimeouts(t *testing.T) {
	eachFlavour(t, func(b fixture) {
		for _, d := range []time.Duration{time.Microsecond, 15 * time.Millisecond} {
			least := d
			if tick := b.k.Tick; tick > 0 {
				least = (d+tick-1)/tick*tick + tick
			}
			start := time.Now()
			n, e := b.k.Kevent(b.kq, nil, make([]kqueue.Kevent, 1), &kqueue.Timespec{Nsec: int64(d)})
			if took := time.Since(start); n != 0 || e != 0 || took < least {
				b.Errorf("%v: %d, %v after %v, want %v at least", d, n, e, took, least)
			}
		}
		for _, bad := range []kqueue.Timespec{{Sec: -1}, {Nsec: -1}, {Nsec: 1e9}} {
			if _, e := b.k.Kevent(b.kq, nil, make([]kqueue.Kevent, 1), &bad); e != syscall.EINVAL {
				b.Errorf("%+v: %v, want EINVAL", bad, e)
			}
		}
	})
}

// A sleep may fail with EINTR.
func TestInterrupts(t *testing.T) {
	f := FreeBSD
	f.Interrupts = 2
	k := New(f)
	kq, _ := k.Kqueue()
	defer k.Close(kq)
	var got []syscall.Errno
	for range 4 {
		_, e := k.Kevent(kq, nil, make([]kqueue.Kevent, 1), &kqueue.Timespec{Nsec: 1})
		got = append(got, e)
	}
	if !slices.Equal(got, []syscall.Errno{0, syscall.EINTR, 0, syscall.EINTR}) {
		t.Errorf("%v", got)
	}
}

// queue returns the model of the fixture's kqueue.
func (b fixture) queue() *queue {
	b.k.mu.Lock()
	defer b.k.mu.Unlock()
	return b.k.queues[b.kq]
}

// awaitAsleep waits until n calls sleep in q and are not woken.
func awaitAsleep(t testing.TB, q *queue, n func() int) {
	t.Helper()
	asleep := 0
	if !testkit.Eventually(func() bool {
		q.mu.Lock()
		asleep = len(q.sleepers)
		q.mu.Unlock()
		return asleep == n()
	}) {
		t.Fatalf("%d calls sleep, want %d", asleep, n())
	}
}

// sleepers starts n waiters, and returns when they sleep. The function it returns waits until least of them have
// returned and the others sleep again, wakes the rest by events of the descriptor to, waits for them, and returns how
// many had returned by themselves.
func (b fixture) sleepers(n int) func(to sys.FD, least int) int {
	b.Helper()
	back := make(chan int, n)
	var wg sync.WaitGroup
	for range n {
		wg.Go(func() {
			k, _ := b.k.Kevent(b.kq, nil, make([]kqueue.Kevent, 1), nil)
			back <- k
		})
	}
	q := b.queue()
	awaitAsleep(b, q, func() int { return n })
	return func(to sys.FD, least int) (woken int) {
		b.Helper()
		if !testkit.Eventually(func() bool { return len(back) >= least }) {
			b.Errorf("%d of %d waiters were woken, want %d at least", len(back), n, least)
		}
		awaitAsleep(b, q, func() int { return n - len(back) })
		woken = len(back)
		released := make(chan struct{})
		go func() { wg.Wait(); close(released) }()
		for {
			b.must(to, kqueue.FilterWrite, kqueue.FlagAdd|kqueue.FlagEnable|kqueue.FlagDispatch)
			select {
			case <-released:
				b.change(to, kqueue.FilterWrite, kqueue.FlagDelete)
				return woken
			case <-time.After(time.Millisecond):
			}
		}
	}
}

// With EV_CLEAR, EV_ONESHOT or EV_DISPATCH one of 8 waiters gets an edge (N and
// F). A level-triggered event reaches all of them on F. On N some keep sleeping (3 of 8
// were woken), because putting the event back wakes no waiter: so one level-triggered
// wake-up does not wake all waiters there.
func TestManyWaiters(t *testing.T) {
	eachFlavour(t, func(b fixture) {
		for _, mode := range []uint16{kqueue.FlagClear, kqueue.FlagOneshot, kqueue.FlagDispatch, 0} {
			x, y := b.pair()
			b.must(x, kqueue.FilterRead, kqueue.FlagAdd|mode)
			woken := b.sleepers(8)
			write(y)
			least, most := 1, 1
			switch {
			case mode != 0:
			case b.k.Flavour.Traits.SilentRequeue:
				most = b.k.LevelWakes
			default:
				least, most = 8, 8
			}
			if n := woken(y, least); n < least || n > most {
				b.Errorf("mode %#x: %d of 8 waiters were woken, want %d to %d", mode, n, least, most)
			}
			b.change(x, kqueue.FilterRead, kqueue.FlagDelete)
		}
	}, FreeBSD, NetBSD, Darwin)
}

// Closing a kqueue that has a waiter: F's waiter keeps sleeping, N's close waits for
// it. The model reports a fault.
func TestCloseUnderWaiter(t *testing.T) {
	k := New(FreeBSD)
	var faults []string
	k.Fault = func(what string) { faults = append(faults, what) }
	kq, _ := k.Kqueue()
	q := fixture{t, k, kq}.queue()
	done := make(chan syscall.Errno)
	go func() {
		_, e := k.Kevent(kq, nil, make([]kqueue.Kevent, 1), &kqueue.Timespec{Sec: 3600})
		done <- e
	}()
	awaitAsleep(t, q, func() int { return 1 })
	q.mu.Lock()
	waiter := q.sleepers[0]
	q.mu.Unlock()
	k.Close(kq)
	if e := timeOut(waiter, done); len(faults) != 1 || e != 0 {
		t.Errorf("faults %q, the waiter's error %v", faults, e)
	}
	if _, e := k.Kevent(kq, nil, nil, nil); !errors.Is(e, syscall.EBADF) {
		t.Errorf("a closed kqueue: %v, want EBADF", e)
	}
}

// timeOut makes the time of a call that sleeps pass, and returns the call's result. The call sets its timer after it is
// seen to sleep, so once may be too early.
func timeOut(s *sleeper, done <-chan syscall.Errno) syscall.Errno {
	for {
		select {
		case e := <-done:
			return e
		case <-time.After(time.Millisecond):
			s.timer.Reset(0)
		}
	}
}

// The user data is as wide as a pointer.
func TestUdataBits(t *testing.T) {
	eachFlavour(t, func(b fixture) {
		x, y := b.pair()
		all := ^uint64(0)
		b.k.Kevent(b.kq, []kqueue.Kevent{{Ident: uint64(x), Filter: kqueue.FilterRead, Flags: kqueue.FlagAdd, Udata: all}}, nil, &kqueue.Timespec{})
		write(y)
		if ev := b.expect(1, "data")[0]; ev.Udata != all>>(64-b.k.Flavour.Traits.UdataBits) {
			b.Errorf("user data %#x", ev.Udata)
		}
	})
}
