package loop_test

import (
	"io"
	"math"
	"net"
	"runtime"
	"syscall"
	"time"

	"github.com/pollux-io/pollux/internal/sys"
	"github.com/pollux-io/pollux/sock"
)

// plainConn is a connection outside of a loop: one of package net, or polledStream.
type plainConn interface {
	io.ReadWriteCloser
	CloseWrite() error
}

// polledStream is a stream whose Read and Write block, for systems on which package net cannot take
// over a socket.
type polledStream struct{ *sock.Stream }

func (p polledStream) Read(b []byte) (n int, err error) {
	for {
		if n, err = p.Stream.Read(b); err != sock.ErrWouldBlock {
			return n, err
		}
		time.Sleep(100 * time.Microsecond)
	}
}

func (p polledStream) Write(b []byte) (n int, err error) {
	for {
		k, err := p.Stream.Write(b[n:])
		if n += k; err != sock.ErrWouldBlock {
			return n, err
		}
		time.Sleep(100 * time.Microsecond)
	}
}

// plainState is the state of an end outside of the loop: a plain peer, or a detached connection.
type plainState struct {
	queued     int  // total bytes to write
	budget     int  // bytes that may still be read
	nowrite    bool // the writer has returned
	noread     bool // the reader has returned, at EOF or because of readErr
	readErr    error
	dead       bool // closed by hardClose
	reset      bool // with a reset
	minArrived int  // how many bytes had certainly arrived when dead was set
}

// unlimited is a read budget that no program exhausts.
const unlimited = math.MaxInt32

// startPlain starts a plain peer's reader and writer, or records that connecting failed.
func (a *end) startPlain(c net.Conn, err error) {
	if err != nil {
		a.p.connectFailed("a plain peer", err)
		return
	}
	if t, ok := asTCP(c); ok && a.p.s.small {
		// Not the receive buffer: shrinking an advertised window can stall both directions, because
		// acknowledgments outside of it are dropped.
		t.SetWriteBuffer(8 << 10)
	}
	a.startIO(c.(plainConn))
}

// plainConn returns the connection of an end outside of the loop, or nil. Detaching sets it on the
// loop.
func (a *end) plainConn() (c plainConn) {
	a.p.locked(func() { c = a.raw })
	return c
}

// startIO starts the reader and writer of c. A detached connection has sent everything: it
// half-closes, and reads until EOF.
func (a *end) startIO(c plainConn) {
	a.p.locked(func() {
		a.raw, a.queued = c, a.sent
		if !a.plain {
			a.fin, a.budget = true, unlimited
		}
	})
	a.p.players.Go(a.readLoop)
	a.p.players.Go(a.writeLoop)
}

// doPlain does a step of a plain peer.
func (a *end) doPlain(s step) {
	switch s.op {
	case opWrite:
		a.p.locked(func() {
			if !a.fin {
				a.queued += s.n
			}
		})
	case opRead:
		a.p.locked(func() { a.budget += s.n })
	case opFIN:
		a.p.locked(func() { a.fin = true })
	case opRST:
		a.hardClose(true)
	case opHardClose:
		a.hardClose(false)
	}
}

// writeLoop writes what is queued, and finally half-closes.
func (a *end) writeLoop() {
	defer a.p.locked(func() { a.nowrite = true })
	for {
		var b []byte
		over := false
		a.p.locked(func() {
			a.p.waitLocked(func() bool { return a.dead || a.sent < a.queued || a.fin })
			over = a.dead || a.p.r.stuck.Load()
			b = a.streamText(a.sent, min(maxChunk, a.queued-a.sent))
		})
		if over {
			return
		}
		if len(b) == 0 {
			a.raw.CloseWrite()
			return
		}
		n, err := a.raw.Write(b)
		a.p.locked(func() {
			a.sent += n
			a.lost = a.lost || err != nil
		})
		if err != nil {
			return
		}
	}
}

// readLoop reads as much as the budget allows.
func (a *end) readLoop() {
	defer a.p.locked(func() { a.noread = true })
	b := make([]byte, maxChunk)
	for {
		n := 0
		a.p.locked(func() {
			a.p.waitLocked(func() bool { return a.dead || a.budget > 0 })
			if n = min(a.budget, len(b)); a.dead || a.p.r.stuck.Load() {
				n = 0
			}
		})
		if n == 0 {
			return
		}
		n, err := a.raw.Read(b[:n])
		a.p.locked(func() {
			a.checkBytesLocked(b[:n], a.seen)
			a.seen += n
			a.budget -= n
			if a.eof, a.readErr = err == io.EOF, err; a.eof && !a.dead && !a.peer.mayEndLocked() {
				a.p.failLocked("end %d read EOF, but the peer has not closed", a.i)
			}
		})
		if err != nil {
			return
		}
	}
}

// hardClose closes immediately, with a reset, or normally even if bytes are unread.
func (a *end) hardClose(reset bool) {
	var c plainConn
	a.p.locked(func() {
		if c = a.raw; a.dead || c == nil {
			return
		}
		a.minArrived = a.arrivedLocked()
		a.dead, a.reset = true, reset
	})
	if t, ok := c.(tcpConn); ok && reset {
		t.SetLinger(0)
	}
	if c != nil {
		c.Close()
	}
}

// arrivedLocked returns how many of the bytes that a plain peer has sent have certainly arrived. A
// reset does not drop them on Linux, where a receive returns the queued bytes before the error
// (tcp_recvmsg, unix_stream_read_generic).
func (a *end) arrivedLocked() int {
	switch {
	case runtime.GOOS != "linux":
		return 0
	case a.p.s.network == "unix": // written bytes are in the peer's queue
		return a.sent
	}
	inFlight, known := a.inFlight()
	if !known {
		return 0
	}
	return max(0, a.sent-inFlight)
}

// inFlight returns how many bytes the peer's system has not acknowledged; the caller must hold the
// pair's mu.
func (a *end) inFlight() (n int, known bool) {
	c, ok := a.raw.(syscall.Conn)
	if !ok {
		return 0, false
	}
	rc, err := c.SyscallConn()
	if err != nil {
		return 0, false
	}
	rc.Control(func(fd uintptr) { n, known = sys.UnackedBytes(sys.FD(fd)) })
	return n, known
}

// smallBytes is a size that always fits into the peer's receive buffer, whatever it reads.
const smallBytes = 2 << 10

// waitArrived waits until everything that a plain peer has sent has arrived, if it is small enough.
func (a *end) waitArrived() {
	small := func() bool { return a.raw != nil && !a.dead && !a.lost && a.queued-a.peer.seen <= smallBytes }
	a.p.wait("the writer", func() bool { return !small() || a.sent == a.queued })
	if a.p.s.network == "unix" {
		return
	}
	// There is no event for this, so it is polled. Bytes in flight when the peer resets the
	// connection are counted forever, so a connection that was never accepted, which Shutdown
	// resets, counts as finished.
	for is := true; is && !a.p.r.stuck.Load(); {
		a.p.mu.Lock()
		is = small() && !a.peer.finishedLocked()
		if is {
			n, known := a.inFlight()
			is = known && n > 0
		}
		a.p.mu.Unlock()
		if is {
			time.Sleep(100 * time.Microsecond)
		}
	}
}
