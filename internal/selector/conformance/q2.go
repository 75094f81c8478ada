package conformance

import (
	"syscall"
	"testing"

	"github.com/pollux-io/pollux"
	"github.com/pollux-io/pollux/internal/sys"
	"github.com/pollux-io/pollux/sock"
)

// Q2: edge, level and oneshot.
func (u *suite) q2() []test {
	return tests(
		test{"an edge is reported once", u.edgeOnce},
		test{"after a drain the next change is reported", u.edgeAfterDrain},
		test{"after a short read the next change is reported", u.edgeAfterShortRead},
		test{"a partial read makes no event", u.partialReadIsSilent},
		test{"writable is reported after would-block", u.writableAfterFull},
		test{"level repeats until drained", u.levelRepeats},
		test{"level writable repeats", u.levelWritable},
		test{"oneshot is silent until Reregister", u.oneshotSilent},
		test{"oneshot with both interests fires once", u.oneshotBoth},
		test{"Reregister reports existing readiness again", u.reregisterReportsAgain},
		test{"write interest gives no readable", u.writeOnly},
		test{"two streams, two edges", u.twoEdges},
		test{"a listener reports bursts", u.acceptBursts},
		test{"urgent data is reported each time", u.urgentEachTime},
		test{"a raw call that would block re-arms the edge", u.rawCalls},
		test{"each error of a datagram socket is reported", u.packetErrors},
	)
}

func (u *suite) edgeOnce(t *testing.T) {
	q := u.poll(t)
	a, b := u.pair(t)
	must(t, q.Register(a, 1, pollux.Readable, pollux.Edge))
	write(t, b, "x")
	next(t, q, "the edge", readable(1))
	u.quiet(t, q, "the edge was reported and nothing has changed")
}

func (u *suite) edgeAfterDrain(t *testing.T) {
	q := u.poll(t)
	a, b := u.pair(t)
	must(t, q.Register(a, 1, pollux.Readable, pollux.Edge))
	for range 100 {
		write(t, b, "xyz")
		next(t, q, "an edge after a drain", readable(1))
		if n := drain(t, a); n != 3 {
			t.Fatalf("%d bytes, want 3", n)
		}
	}
	u.quiet(t, q, "the stream is drained")
}

func (u *suite) edgeAfterShortRead(t *testing.T) {
	q := u.poll(t)
	a, b := u.pair(t)
	must(t, q.Register(a, 1, pollux.Readable, pollux.Edge))
	buf := make([]byte, 64)
	for range 100 {
		write(t, b, "xyz")
		next(t, q, "an edge after a short read", readable(1))
		if n, err := a.Read(buf); n != 3 || err != nil {
			t.Fatalf("Read = %d, %v, want 3 bytes", n, err)
		}
	}
}

func (u *suite) partialReadIsSilent(t *testing.T) {
	q := u.poll(t)
	a, b := u.pair(t)
	must(t, q.Register(a, 1, pollux.Readable, pollux.Edge))
	write(t, b, "0123456789")
	next(t, q, "the edge", readable(1))
	if n, err := a.Read(make([]byte, 4)); n != 4 || err != nil {
		t.Fatalf("Read = %d, %v", n, err)
	}
	u.quiet(t, q, "a partial read makes no edge")
	if n := drain(t, a); n != 6 {
		t.Fatalf("%d bytes left, want 6", n)
	}
	write(t, b, "x")
	next(t, q, "the edge after the drain", readable(1))
}

func (u *suite) writableAfterFull(t *testing.T) {
	q := u.poll(t)
	a, b := u.pair(t)
	must(t, q.Register(a, 1, pollux.Writable, pollux.Edge))
	next(t, q, "writable at first", writable(1))
	for range 3 {
		wrote := fill(t, a)
		for got := 0; got < wrote; {
			got += drain(t, b)
		}
		next(t, q, "writable after the peer has read", writable(1))
	}
}

func (u *suite) levelRepeats(t *testing.T) {
	q := u.poll(t)
	a, b := u.pair(t)
	must(t, q.Register(a, 1, pollux.Readable, pollux.Level))
	write(t, b, "x")
	for range 10 {
		next(t, q, "level readiness that lasts", readable(1))
	}
	drain(t, a)
	u.quiet(t, q, "the stream is not readable")
	write(t, b, "x")
	next(t, q, "level again", readable(1))
}

func (u *suite) levelWritable(t *testing.T) {
	q := u.poll(t)
	a, _ := u.pair(t)
	must(t, q.Register(a, 1, pollux.Writable, pollux.Level))
	for range 5 {
		next(t, q, "writable that lasts", writable(1))
	}
}

func (u *suite) oneshotSilent(t *testing.T) {
	for _, trigger := range []pollux.Trigger{pollux.Oneshot, pollux.Oneshot | pollux.Level} {
		q := u.poll(t)
		a, b := u.pair(t)
		reg := q.Registrator()
		must(t, reg.Register(a, 1, pollux.Readable, trigger))
		for range 5 {
			write(t, b, "x")
			next(t, q, "the oneshot event", readable(1))
			write(t, b, "x")
			drain(t, a)
			write(t, b, "x")
			u.quiet(t, q, trigger.String()+" has fired")
			drain(t, a)
			must(t, reg.Reregister(a, 1, pollux.Readable, trigger))
			u.quiet(t, q, "there is nothing to read")
		}
	}
}

func (u *suite) oneshotBoth(t *testing.T) {
	q := u.poll(t)
	a, b := u.pair(t)
	reg := q.Registrator()
	write(t, b, "x")
	must(t, reg.Register(a, 1, pollux.Readable|pollux.Writable, pollux.Oneshot))
	for range 10 {
		next(t, q, "either readiness", func(ev pollux.Event) bool { return ev.Token() == 1 })
		u.quiet(t, q, "the oneshot registration has fired")
		must(t, reg.Reregister(a, 1, pollux.Readable|pollux.Writable, pollux.Oneshot))
	}
}

func (u *suite) reregisterReportsAgain(t *testing.T) {
	q := u.poll(t)
	a, b := u.pair(t)
	reg := q.Registrator()
	must(t, reg.Register(a, 1, pollux.Readable, pollux.Edge))
	write(t, b, "x")
	for tok := pollux.Token(1); tok < 20; tok++ {
		next(t, q, "data that is still unread", readable(tok))
		must(t, reg.Reregister(a, tok+1, pollux.Readable, pollux.Edge))
	}
}

func (u *suite) writeOnly(t *testing.T) {
	q := u.poll(t)
	a, b := u.pair(t)
	must(t, q.Register(a, 1, pollux.Writable, pollux.Edge))
	next(t, q, "writable", writable(1))
	write(t, b, "x")
	for _, ev := range collect(t, q) {
		if ev.Readable() {
			t.Errorf("%v with interest Writable", ev)
		}
	}
}

func (u *suite) twoEdges(t *testing.T) {
	q := u.poll(t)
	seen := map[pollux.Token]bool{}
	for tok := range pollux.Token(2) {
		a, b := u.pair(t)
		must(t, q.Register(a, tok, pollux.Readable, pollux.Edge))
		write(t, b, "x")
	}
	next(t, q, "both edges", func(ev pollux.Event) bool {
		seen[ev.Token()] = true
		return len(seen) == 2
	})
}

func (u *suite) acceptBursts(t *testing.T) {
	q := u.poll(t)
	l := u.listener(t)
	must(t, q.Register(l, 9, pollux.Readable, pollux.Edge))
	for range 5 {
		var clients []Stream
		for range 10 {
			c, err := l.Connect()
			must(t, err)
			clients = append(clients, c)
		}
		accepted := 0
		for accepted < 10 {
			next(t, q, "the listener", readable(9))
			for {
				s, err := l.Accept()
				if err != nil {
					break
				}
				accepted++
				s.Close()
			}
		}
		for _, c := range clients {
			c.Close()
		}
		u.acceptRest(l)
	}
}

func (u *suite) acceptRest(l Listener) {
	for {
		s, err := l.Accept()
		if err != nil {
			return
		}
		s.Close()
	}
}

func (u *suite) urgentEachTime(t *testing.T) {
	q := u.poll(t)
	a, b := u.pair(t)
	from, ok := b.(*sock.TCPStream)
	if !ok {
		t.Skipf("skipped: a %T has no urgent data", b)
	}
	if u.NoUrgent {
		t.Skip("skipped: urgent data is not reported on this system (docs/platforms.md)")
	}
	must(t, q.Register(a, 1, pollux.Priority, pollux.Edge))
	for i := range 3 {
		must(t, from.SendUrgent('x'))
		if ev := again(t, q, i, "urgent data (docs/platforms.md)"); !ev.Priority() {
			t.Fatalf("time %d: %v, want Priority", i+1, ev)
		}
		if b, err := a.(*sock.TCPStream).ReadUrgent(); b != 'x' || err != nil {
			t.Fatalf("ReadUrgent = %q, %v", b, err)
		}
		if u.UrgentLasts {
			limit(t, "urgent data is reported again until the bytes behind it are read")
			return
		}
	}
}

// rawCalls reads by SyscallConn: the queue sees only the result of the function passed to Read.
func (u *suite) rawCalls(t *testing.T) {
	q := u.poll(t)
	a, b := u.pair(t)
	raw, err := a.(syscall.Conn).SyscallConn()
	must(t, err)
	must(t, q.Register(a, 1, pollux.Readable, pollux.Edge))
	for range 3 {
		write(t, b, "x")
		next(t, q, "an edge after a raw call", readable(1))
		for done := true; done; {
			must(t, raw.Read(func(fd uintptr) bool {
				_, e := sys.Recv(sys.FD(fd), make([]byte, 4), 0)
				done = e == 0
				return done
			}))
		}
	}
}

func (u *suite) packetErrors(t *testing.T) {
	peer, err := sock.ListenUDP(loopback)
	must(t, err)
	s, err := sock.ConnectUDP(peer.LocalAddr())
	must(t, err)
	defer s.Close()
	peer.Close()
	q := u.poll(t)
	must(t, q.Register(s, 1, pollux.Writable, pollux.Edge))
	next(t, q, "writable at first", writable(1))
	for i := range 3 {
		s.Write([]byte("x"))
		again(t, q, i, "an error for an unused port")
		if _, err := s.Write([]byte("x")); err == nil {
			t.Fatalf("Write after event %d succeeded, want the error of the unused port", i+1)
		}
		for len(collect(t, q)) > 0 {
		}
	}
}

// again waits for the event of round i. If the first round has none, the system does not
// report such events.
func again(t *testing.T, q *pollux.Poll, i int, what string) pollux.Event {
	t.Helper()
	events := make([]pollux.Event, 1)
	timeout := deadline
	if i == 0 {
		timeout = deadline / 10
	}
	switch n, err := q.Wait(events, timeout); {
	case err != nil:
		t.Fatal(err)
	case n == 0 && i == 0:
		t.Skip("skipped: this system does not report " + what)
	case n == 0:
		t.Fatalf("time %d: %s was not reported", i+1, what)
	}
	return events[0]
}
