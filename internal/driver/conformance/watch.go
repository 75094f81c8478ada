package conformance

import (
	"errors"

	"github.com/pollux-io/pollux"
	"github.com/pollux-io/pollux/internal/driver"
	"github.com/pollux-io/pollux/internal/selector"
	"github.com/pollux-io/pollux/sock"
)

var watchTests = []test{
	{"each edge is reported", usual, watchEdges},
	{"nothing after Unwatch", usual, nothingAfterUnwatch},
	{"Unwatch and Watch from inside Ready", usual, unwatchInside},
	{"a closed source", usual, watchClosed},
	{"a source that is closed before Unwatch", usual, closeBeforeUnwatch},
	{"a closed source with an open duplicate", usual, closeDuplicated},
	{"a source that is already watched", usual, watchTwice},
	{"the readable interest", usual, watchReadable},
	{"the writable interest", usual, watchWritable},
	{"the priority interest", usual, watchPriority},
	{"a reset is reported to either interest", usual, watchReset},
}

type watch struct {
	driver.Watch
	h         *harness
	u         *sock.UDPSocket
	onReady   func(selector.Flags)
	events    []selector.Flags
	reads     int // readable events
	unwatched bool
}

// watch returns a watch of a new datagram socket.
func (h *harness) watch() *watch {
	h.Helper()
	u := h.udp()
	w := &watch{h: h, u: u, unwatched: true}
	w.Source, w.Interest, w.Up = u, selector.AnyInterest, (*watchUpcalls)(w)
	h.watches = append(h.watches, w)
	return w
}

// watchOf returns a watch of a source with an interest, and starts it.
func (h *harness) watchOf(src pollux.Source, interest selector.Interest) *watch {
	h.Helper()
	w := &watch{h: h, unwatched: true}
	w.Source, w.Interest, w.Up = src, interest, (*watchUpcalls)(w)
	h.watches = append(h.watches, w)
	w.watch()
	return w
}

func (w *watch) watch() {
	w.h.Helper()
	w.h.call("Watch", func() { w.h.must(w.h.drv.Watch(&w.Watch)) })
	w.unwatched = false
}

func (w *watch) unwatch() {
	if !w.unwatched {
		w.unwatched = true
		w.h.call("Unwatch", func() { w.h.drv.Unwatch(&w.Watch) })
	}
}

type watchUpcalls watch

func (u *watchUpcalls) Ready(f selector.Flags) {
	w := (*watch)(u)
	w.h.upcall("Ready", func() {
		if w.unwatched {
			w.h.Errorf("Ready(%v) after Unwatch", f)
		}
		if f == 0 || f != f.For(w.Interest) {
			w.h.Errorf("Ready(%v) of a watch with interest %v", f, w.Interest)
		}
		w.events = append(w.events, f)
		if f.Readable() {
			w.reads++
		}
		if w.onReady != nil {
			w.onReady(f)
		}
	})
}

// sendDatagram sends the source a datagram, from itself.
func (w *watch) sendDatagram() {
	w.h.Helper()
	_, err := w.u.WriteTo([]byte("x"), w.u.LocalAddr())
	w.h.must(err)
}

func (w *watch) drain() (n int) {
	b := make([]byte, 16)
	for {
		if _, _, err := w.u.ReadFrom(b); err != nil {
			return n
		}
		n++
	}
}

func watchEdges(h *harness) {
	w := h.watch()
	w.watch()
	h.untilQuiet()
	for i := range 5 {
		w.sendDatagram()
		h.until("a datagram", func() bool { return w.reads > i })
		h.expectQuiet("the edge was reported, and nothing has arrived since")
		if w.reads > i+1 {
			h.Errorf("one edge was reported %d times", w.reads-i)
		}
		h.waitFor("the datagram", func() bool { return w.drain() == 1 })
	}
}

func nothingAfterUnwatch(h *harness) {
	w := h.watch()
	for range 3 {
		w.watch()
		h.untilQuiet()
		w.sendDatagram()
		w.unwatch()
		h.expectQuiet("the source is no longer watched")
		w.sendDatagram()
		h.expectQuiet("the source is no longer watched")
		reads := w.reads
		w.watch()
		h.until("the unread datagrams after Watch", func() bool { return w.reads > reads })
		w.drain()
		w.unwatch()
	}
}

// unwatchInside: of two sources with events in one batch, the first upcall unwatches the other, and
// watches a third source, which has no event and reuses the index.
func unwatchInside(h *harness) {
	for range 20 {
		a, b, c := h.watch(), h.watch(), h.watch()
		acted := false
		act := func(other *watch) func(selector.Flags) {
			return func(f selector.Flags) {
				if f.Readable() && !acted {
					acted = true
					other.unwatch()
					c.watch()
				}
			}
		}
		a.watch()
		b.watch()
		h.untilQuiet()
		a.onReady, b.onReady = act(b), act(a)
		a.sendDatagram()
		b.sendDatagram()
		h.until("the first", func() bool { return acted })
		h.untilQuiet()
		if c.reads > 0 {
			h.Error("a source with nothing to read got another source's event")
		}
		c.sendDatagram()
		h.until("its own event", func() bool { return c.reads == 1 })
		for _, w := range []*watch{a, b, c} {
			w.unwatch()
		}
	}
}

func watchClosed(h *harness) {
	w := h.watch()
	h.must(w.u.Close())
	h.call("Watch", func() {
		if err := h.drv.Watch(&w.Watch); err == nil {
			h.Error("Watch succeeded on a closed source")
		}
	})
	other := h.watch()
	other.watch()
	other.sendDatagram()
	h.until("another's datagram", func() bool { return other.reads == 1 })
}

// closeDuplicated: a closed source is no longer watched, even if a duplicate keeps the socket open.
func closeDuplicated(h *harness) {
	w := h.watch()
	f, err := w.u.File()
	if errors.Is(err, errors.ErrUnsupported) {
		h.Skipf("no duplicates here: %v", err)
	}
	h.must(err)
	defer f.Close()
	to, sender := w.u.LocalAddr(), h.udp()
	w.watch()
	h.untilQuiet()
	h.must(w.u.Close())
	for range 3 {
		_, err := sender.WriteTo([]byte("x"), to)
		h.must(err)
		h.expectQuiet("the source is closed")
	}
	w.unwatch()
}

// watchTwice: a source has one queue at a time, and the error names the kind of conflict.
func watchTwice(h *harness) {
	w := h.watch()
	w.watch()
	refused := func(what string, want error) {
		h.Helper()
		again := driver.Watch{Source: w.u, Interest: w.Interest, Up: w.Up}
		h.call("Watch", func() {
			if err := h.drv.Watch(&again); !errors.Is(err, want) {
				h.Errorf("%s: %v, want %v", what, err, want)
			}
		})
	}
	refused("watched twice", pollux.ErrRegistered)
	w.sendDatagram()
	h.until("the datagram", func() bool { return w.reads == 1 })
	if h.machine.Network != nil {
		return // a Poll does not watch its sockets
	}
	q, err := pollux.New()
	if errors.Is(err, pollux.ErrBackend) {
		h.Skipf("skipped in part: %v", err)
	}
	h.must(err)
	defer q.Close()
	if err := q.Register(w.u, 1, pollux.Readable, pollux.Edge); !errors.Is(err, pollux.ErrOtherPoll) {
		h.Errorf("Register of a watched source: %v, want %v", err, pollux.ErrOtherPoll)
	}
	w.unwatch()
	w.drain()
	h.must(q.Register(w.u, 1, pollux.Readable, pollux.Edge))
	refused("registered with a Poll", pollux.ErrOtherPoll)
	h.must(q.Close())
	w.watch() // closing a Poll ends its registrations
	w.sendDatagram()
	h.until("the next datagram", func() bool { return w.reads == 2 })
}

func closeBeforeUnwatch(h *harness) {
	w, other := h.watch(), h.watch()
	w.watch()
	other.watch()
	h.untilQuiet()
	w.sendDatagram()
	h.must(w.u.Close())
	w.unwatch()
	h.expectQuiet("the source is no longer watched")
	next := h.watch()
	next.watch()
	h.untilQuiet()
	other.sendDatagram()
	next.sendDatagram()
	h.until("the others' datagrams", func() bool { return other.reads == 1 && next.reads == 1 })
}

// watchReadable: that a socket is writable is not reported to a watch that asks for Readable only,
// and datagrams are.
func watchReadable(h *harness) {
	u, sender := h.udp(), h.udp()
	w := h.watchOf(u, selector.Readable)
	h.expectQuiet("the socket is writable only")
	_, err := sender.WriteTo([]byte("x"), u.LocalAddr())
	h.must(err)
	h.until("the datagram", func() bool { return w.reads > 0 })
}

// watchWritable: datagrams are not reported to a watch that asks for Writable only.
func watchWritable(h *harness) {
	u, sender := h.udp(), h.udp()
	w := h.watchOf(u, selector.Writable)
	h.until("that the socket is writable", func() bool { return len(w.events) > 0 })
	h.untilQuiet()
	for range 3 {
		_, err := sender.WriteTo([]byte("x"), u.LocalAddr())
		h.must(err)
	}
	h.expectQuiet("only datagrams have arrived")
}

// watchPriority: bytes are not reported to a watch that asks for Priority only.
func watchPriority(h *harness) {
	c, p := h.pair()
	h.watchOf(p, selector.Priority)
	_, err := c.Write([]byte("ordinary"))
	h.must(err)
	h.expectQuiet("only ordinary bytes have arrived")
}

// watchReset: the error or hang-up is reported to a watch that asks for one direction only.
func watchReset(h *harness) {
	for _, interest := range []selector.Interest{selector.Readable, selector.Writable} {
		c, p := h.pair()
		w := h.watchOf(p, interest)
		h.untilQuiet()
		w.events = nil
		h.must(c.SetLinger(0))
		c.release()
		h.until("the reset", func() bool { return len(w.events) > 0 })
		w.unwatch()
	}
}
