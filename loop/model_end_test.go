package loop_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"slices"
	"sync"
	"time"

	"github.com/pollux-io/pollux/loop"
	"github.com/pollux-io/pollux/sock"
)

// way is how an end of a connection ends it.
type way int

const (
	halfCloses way = iota // CloseWrite when all is written, and Close after the peer's end
	detaches              // at its trip, and goes on as a plain connection
	closes                // at its trip
	aborts                // at its trip
	fails                 // Data does, from its trip on
	panics                // any callback does, from its trip on
	expires               // a deadline is set at its trip, and may pass
	ways
)

var errModel = errors.New("an error of Data's")

// end is an end of a connection: a handler of the group's, or a plain peer.
type end struct {
	*rand.Rand
	m     *model
	peer  *end
	plain bool
	reads bool // on above the high watermark: it was dialed
	way   way
	place int // in text, where what it sends begins
	total int // bytes to send
	trip  int // bytes sent and seen
	over  chan struct{}

	mu sync.Mutex
	state
}

type state struct {
	sent, took, left, owned      int // bytes taken by Write, consumed, and left by Data; WriteOwned that are not done
	handlers                     int // that SetHandler has set
	opened, closed               bool
	paused, crowded, above       bool      // above the high watermark, since a callback
	inside, pumping, shut, lost  bool      // in a callback; pump will be called; CloseWrite was; something was not sent
	ending, endingInside, sawEnd bool      // something that ends it was called, in a callback; the peer's end
	deadline                     time.Time // before which the connection does not end by itself
	why                          error
}

// relay is a handler that SetHandler has set: the last one gets all that comes.
type relay struct {
	*end
	number int
}

// Streams are made of text, each from a place of its own, over and over.
const (
	textBytes = 65521
	maxPiece  = 128 << 10
)

var text = func() []byte {
	b := make([]byte, textBytes)
	rand.NewChaCha8([32]byte{}).Read(b)
	return bytes.Repeat(b, 2+maxPiece/textBytes)
}()

// words returns n bytes of what a sends, up to maxPiece.
func (a *end) words(at, n int) []byte {
	from := (a.place + at) % textBytes
	return text[from : from+n]
}

// sees checks the bytes that are there, and consumes n; mu is held.
func (a *end) sees(b []byte, n int) {
	if len(b) < a.left {
		a.failf("%d bytes come, %d were left", len(b), a.left)
	}
	at := a.took
	for piece := range slices.Chunk(b, maxPiece) {
		if !bytes.Equal(piece, a.peer.words(at, len(piece))) {
			a.failf("there are other bytes than were sent, from %d on", at)
		}
		at += len(piece)
	}
	a.took, a.left = a.took+n, len(b)-n
}

func (a *end) String() string {
	return fmt.Sprintf("end %d (%s, plain %v, way %d, total %d, trip %d) %+v", slices.Index(a.m.ends, a), a.m.network, a.plain, a.way, a.total, a.trip, a.state)
}

func (a *end) failf(format string, args ...any) {
	a.m.t.Errorf("%s: %v\n%+v", fmt.Sprintf(format, args...), a, a.m.config)
}

// mayFail allows for errors of a group that shuts down, or of a peer that ends the
// connection at once.
func (a *end) mayFail(what string, err error) {
	if !a.m.early && a.peer.isPolite() {
		a.m.t.Errorf("%s: %v", what, err)
	}
}

func (r relay) come() *end {
	r.locked(func() {
		if r.number != r.handlers {
			r.failf("handler %d is called", r.number)
		}
	})
	return r.end
}

func (r relay) Data(c *loop.Conn, b []byte) (int, error) { return r.come().Data(c, b) }
func (r relay) ReadClosed(c *loop.Conn)                  { r.come().ReadClosed(c) }
func (r relay) Drained(c *loop.Conn)                     { r.come().Drained(c) }
func (r relay) Shutdown(c *loop.Conn)                    { r.come().Shutdown(c) }
func (r relay) Closed(c *loop.Conn, why error)           { r.come().Closed(c, why) }

func (a *end) isOpened() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.opened
}

// enter begins every callback, and returns what ends it.
func (a *end) enter(what string) (leave func()) {
	a.mu.Lock()
	if a.closed || a.opened == (what == "Opened") {
		a.failf("%s comes before Opened, twice or after Closed", what)
	}
	a.inside = true
	return func() { a.inside = false; a.mu.Unlock() }
}

func (a *end) Opened(c *loop.Conn) {
	defer a.enter("Opened")()
	a.opened = true
	if n, most := a.m.g.Conns(), a.m.config.MaxConns; most > 0 && n > most {
		a.failf("there are %d connections", n)
	}
	if a.IntN(4) == 0 {
		a.pause(c)
	}
	a.pump(c)
}

func (a *end) Data(c *loop.Conn, b []byte) (int, error) {
	defer a.enter("Data")()
	if a.paused || a.endingInside || a.above && !a.reads && c.Unsent() > a.m.config.LowWatermark {
		a.failf("Data is not to be called")
	}
	n := pick(a.Rand, len(b), len(b), a.IntN(len(b)+1))
	a.sees(b, n)
	if a.left >= a.m.config.MaxUnread || a.m.crowd && !a.crowded || a.IntN(8) == 0 {
		a.pause(c)
	}
	if a.IntN(3) == 0 {
		a.pump(c)
	}
	if a.IntN(3) == 0 && c.SetHandler(relay{a, a.handlers + 1}) == nil {
		a.handlers++
	}
	a.strike(c)
	if a.way == fails && !a.ending && a.tripped() {
		a.ending, a.endingInside = true, true
		return n, errModel
	}
	return n, nil
}

// pause pauses, in a callback, and has somebody resume.
func (a *end) pause(c *loop.Conn) {
	if a.paused || c.Pause() != nil {
		return
	}
	a.paused = true
	resume := func() {
		a.paused = false
		c.Resume()
	}
	if a.m.crowd && !a.crowded {
		a.crowded = true
		time.AfterFunc(50*time.Millisecond, func() { a.locked(resume) }) // until all are paused
		return
	}
	a.soon(c, resume)
}

func (a *end) locked(f func()) {
	a.mu.Lock()
	defer a.mu.Unlock()
	f()
}

// soon has f called with mu held: on the loop, or not.
func (a *end) soon(c *loop.Conn, f func()) {
	d, locked := time.Duration(a.IntN(1000))*time.Microsecond, func() { a.locked(f) }
	switch a.IntN(4) {
	case 0:
		c.Loop().AfterFunc(d, locked)
	case 1:
		c.Loop().Run(locked)
	case 2:
		time.AfterFunc(d, locked)
	case 3:
		go locked()
	}
}

func (a *end) ReadClosed(c *loop.Conn) {
	defer a.enter("ReadClosed")()
	if a.paused || a.endingInside || a.sawEnd {
		a.failf("ReadClosed is not to be called")
	}
	a.sawEnd = true
	a.pump(c)
}

func (a *end) Drained(c *loop.Conn) {
	defer a.enter("Drained")()
	a.pump(c)
}

func (a *end) Shutdown(c *loop.Conn) {
	defer a.enter("Shutdown")()
	if a.IntN(2) == 0 {
		a.quit(c.Close)
	}
}

func (a *end) Closed(_ *loop.Conn, why error) {
	defer a.enter("Closed")()
	a.closed, a.why = true, why
	if errors.Is(why, loop.ErrTimeout) && (a.deadline.IsZero() || time.Now().Before(a.deadline)) {
		a.failf("a timeout comes early")
	}
	if !errors.Is(why, loop.ErrDetached) {
		close(a.over)
	}
}

// pump writes while there is room, and ends what is to end then; mu is held.
func (a *end) pump(c *loop.Conn) {
	if a.closed {
		return
	}
	a.strike(c)
	for !a.ending && a.sent < a.total && c.Unsent() <= a.m.config.HighWatermark { // else Drained comes
		if a.IntN(3) == 0 || !a.write(c) {
			if !a.pumping {
				a.pumping = true
				a.soon(c, func() { a.pumping = false; a.pump(c) })
			}
			return
		}
		a.strike(c)
	}
	if a.ending || a.sent < a.total {
		return
	}
	if !a.shut {
		a.shut = true
		c.CloseWrite()
	}
	if a.sawEnd {
		a.quit(c.Close)
	}
}

// write writes once, and reports whether that was taken.
func (a *end) write(c *loop.Conn) bool {
	most, waits := a.m.config.MaxUnsent, c.Unsent()
	n := min(a.IntN(pick(a.Rand, 2, 100, 4<<10, 16<<10, maxPiece)), a.total-a.sent)
	if n > most && a.IntN(4) > 0 {
		n = a.IntN(most + 1)
	}
	b, k, err := bytes.Clone(a.words(a.sent, n)), 0, error(nil)
	switch i := a.IntN(n + 1); a.IntN(3) {
	case 0:
		k, err = c.Write(b)
		clear(b) // it may be used again at once
	case 1:
		k, err = c.Writev([][]byte{b[:i], nil, b[i:]})
		clear(b)
	case 2:
		k, err = a.writeOwned(c, b)
	}
	switch {
	case err == nil && k == n:
		a.sent += n
		a.above = a.inside && c.Unsent() > a.m.config.HighWatermark
	case k == 0 && errors.Is(err, loop.ErrBufferFull) && waits+n > most:
	case k == 0 && errors.Is(err, loop.ErrClosed):
		a.ending = true // Closed comes, and tells
	default:
		a.failf("a write of %d: %d, %v, while %d waited", n, k, err, waits)
	}
	if u := c.Unsent(); u > most {
		a.failf("%d bytes wait", u)
	}
	return err == nil
}

func (a *end) writeOwned(c *loop.Conn, b []byte) (int, error) {
	told := false
	a.owned++
	n, err := c.WriteOwned(b, func(why error) {
		a.mu.Lock()
		defer a.mu.Unlock()
		if told || a.closed {
			a.failf("done is called twice, or after Closed")
		}
		told, a.lost = true, a.lost || why != nil
		a.owned--
		clear(b)
	})
	if err != nil {
		a.owned--
	}
	return n, err
}

func (a *end) tripped() bool { return a.sent+a.took+a.left >= a.trip }

// strike ends the connection when it has come to its trip.
func (a *end) strike(c *loop.Conn) {
	switch {
	case a.ending || !a.tripped():
	case a.way == closes:
		a.quit(c.Close)
	case a.way == aborts:
		a.quit(c.Abort)
	case a.way == detaches:
		a.quit(func() error { return c.DetachStream(a.detached) })
	case a.way == panics && a.inside:
		a.ending, a.endingInside = true, true
		panic(errModel)
	case a.way == expires && a.deadline.IsZero():
		d := time.Duration(a.IntN(3000)) * time.Microsecond
		a.deadline = time.Now().Add(d)
		if a.IntN(2) == 0 {
			c.SetIdleTimeout(d + 1)
		} else {
			c.SetReadDeadline(a.deadline)
		}
	}
}

func (a *end) quit(method func() error) {
	a.ending, a.endingInside = true, a.inside
	if err := method(); err != nil && !errors.Is(err, loop.ErrClosed) {
		a.failf("ending it: %v", err)
	}
}

func (a *end) detached(s *sock.Stream, unread []byte, err error) {
	if err != nil {
		return // Closed tells as well
	}
	a.locked(func() { a.sees(unread, len(unread)) })
	go a.talk(polled{s})
}

// polled is a stream whose calls wait.
type polled struct{ *sock.Stream }

func (p polled) Read(b []byte) (n int, err error) {
	for {
		if n, err = p.Stream.Read(b); err != sock.ErrWouldBlock {
			return n, err
		}
		time.Sleep(100 * time.Microsecond)
	}
}

func (p polled) Write(b []byte) (n int, err error) {
	for {
		k, err := p.Stream.Write(b[n:])
		if n += k; err != sock.ErrWouldBlock {
			return n, err
		}
		time.Sleep(100 * time.Microsecond)
	}
}

// plainConn is what package net's connections and polled have in common.
type plainConn interface {
	io.ReadWriteCloser
	CloseWrite() error
}

func (a *end) start(n net.Conn, err error) {
	if err != nil {
		a.mayFail("a plain peer", err)
		close(a.over)
		return
	}
	go a.talk(n.(plainConn))
}

// talk is the end as a plain connection.
func (a *end) talk(n plainConn) {
	defer close(a.over)
	var wg sync.WaitGroup
	wg.Go(func() { a.say(n) })
	time.Sleep(pick(a.Rand, 0, 0, 100*time.Millisecond)) // what comes may have to wait
	b := make([]byte, maxPiece)
	for err := error(nil); err == nil && !a.cut(n); {
		var k int
		k, err = n.Read(b[:1+a.IntN(len(b))])
		a.locked(func() {
			a.sees(b[:k], k)
			a.sawEnd = err == io.EOF
		})
		if a.IntN(10) == 0 {
			time.Sleep(time.Duration(a.IntN(1000)) * time.Microsecond)
		}
	}
	wg.Wait()
	n.Close()
}

func (a *end) say(n plainConn) {
	for !a.cut(n) {
		var b []byte
		a.locked(func() { b = a.words(a.sent, min(1+a.IntN(maxPiece), a.total-a.sent)) })
		if len(b) == 0 {
			n.CloseWrite()
			return
		}
		k, err := n.Write(b)
		a.locked(func() { a.sent, a.lost = a.sent+k, err != nil })
		if err != nil {
			return
		}
	}
}

// cut ends a plain connection when it has come to its trip.
func (a *end) cut(n plainConn) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.way != closes && a.way != aborts || !a.tripped() {
		return false
	}
	if t, ok := n.(*net.TCPConn); ok && a.way == aborts {
		t.SetLinger(0)
	}
	n.Close()
	return true
}

// isPolite says that it sends and reads all there is.
func (a *end) isPolite() bool {
	return a.way == halfCloses || a.way == detaches || a.plain && a.way >= fails
}

// delivers says that what was sent is to arrive, as far as the peer reads.
func (a *end) delivers() bool {
	if a.plain {
		return a.isPolite()
	}
	return a.closed && (a.why == nil || a.why == errModel || errors.Is(a.why, loop.ErrDetached))
}

// check checks how it has ended, and then how much has arrived.
func (a *end) check() {
	for _, mu := range []*sync.Mutex{&a.mu, &a.peer.mu} { // what was asked for may come late
		mu.Lock()
		defer mu.Unlock()
	}
	switch {
	case a.opened && (!a.closed || a.owned != 0):
		a.failf("Closed, or done of WriteOwned, was not called")
	case a.closed && a.why == nil && a.lost:
		a.failf("done got an error, Closed none")
	case errors.Is(a.why, loop.ErrAborted) && !a.shut && a.m.resets() && a.peer.sawEnd && !a.peer.lost:
		a.failf("the peer was not reset")
	case a.closed && a.m.calm && a.isPolite() && a.peer.isPolite() && !a.delivers():
		a.failf("it had no reason to end like that")
	}
	checkFlow(a, a.peer)
}

// checkFlow checks how much of what a sent b has seen.
func checkFlow(a, b *end) {
	seen := b.took + b.left
	// A write that failed may have taken the error, so that reading finds just the end.
	sawEnd := b.sawEnd && !(b.lost && (b.plain || b.way == detaches))
	switch {
	case seen > a.sent:
		a.failf("more was seen than was sent, by %v", b)
	case seen < a.sent && sawEnd && (a.m.resets() || a.delivers()):
		a.failf("a clean end was seen, and not all that was sent, by %v", b)
	case a.m.calm && a.delivers() && b.isPolite() && (seen < a.sent || !sawEnd):
		a.failf("not all was seen that was sent, by %v", b)
	}
}
