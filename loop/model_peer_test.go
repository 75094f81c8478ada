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

// plainConn is what package net's connections and polled have in common.
type plainConn interface {
	io.ReadWriteCloser
	CloseWrite() error
}

// polled is a stream whose calls wait, where package net takes over no sockets.
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

// plainState is the state of an end that is played by the test: a plain peer, or what was
// detached.
type plainState struct {
	queued     int  // bytes to be written in all
	budget     int  // bytes that may be read still
	nowrite    bool // the writer has ended
	noread     bool // the reader has ended: at the end, or because of readErr
	readErr    error
	dead       bool // closed at once
	reset      bool // and by a reset
	minArrived int  // then, how many bytes had certainly arrived
}

// unlimited is a budget that no program exhausts.
const unlimited = math.MaxInt32

// startPlain begins to play a plain peer.
func (a *end) startPlain(c net.Conn, err error) {
	if err != nil {
		a.p.connectFailed("a plain peer", err)
		return
	}
	if t, ok := c.(*net.TCPConn); ok && a.p.s.small {
		// Not the buffer for reading: to shrink a window that was advertised can stop both
		// directions, for acknowledgments outside of it are dropped.
		t.SetWriteBuffer(8 << 10)
	}
	a.startIO(c.(plainConn))
}

// startIO begins to play c. What was detached has sent everything, half-closes, and reads all
// there is.
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

// writeLoop writes what is queued, and then FIN.
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
				a.p.failLocked("end %d finds the end, and the peer has not ended", a.i)
			}
		})
		if err != nil {
			return
		}
	}
}

// hardClose closes at once, by a reset or with whatever is unread.
func (a *end) hardClose(reset bool) {
	a.p.locked(func() {
		if a.dead || a.raw == nil {
			return
		}
		a.minArrived = a.arrivedLocked()
		a.dead, a.reset = true, reset
	})
	if t, ok := a.raw.(*net.TCPConn); ok && reset {
		t.SetLinger(0)
	}
	if a.raw != nil {
		a.raw.Close()
	}
}

// arrivedLocked returns how many bytes of what a plain peer has sent have certainly arrived: a reset
// does not drop them on Linux, where receiving finds what has come before it finds the error
// (tcp_recvmsg, unix_stream_read_generic).
func (a *end) arrivedLocked() int {
	switch {
	case runtime.GOOS != "linux":
		return 0
	case a.p.s.network == "unix": // what is taken is with the peer
		return a.sent
	}
	inFlight, known := a.inFlight()
	if !known {
		return 0
	}
	return max(0, a.sent-inFlight)
}

// inFlight returns how many bytes the peer's system has not acknowledged.
func (a *end) inFlight() (n int, known bool) {
	c, ok := a.raw.(syscall.Conn)
	if !ok {
		return 0, false
	}
	rc, err := c.SyscallConn()
	if err != nil {
		return 0, false
	}
	rc.Control(func(fd uintptr) { n, known = sys.Queued(sys.FD(fd)) })
	return n, known
}

// smallBytes always have room in the peer's system, whatever it reads.
const smallBytes = 2 << 10

// waitArrived waits until what a plain peer has sent has arrived, if there is little of it.
func (a *end) waitArrived() {
	little := func() bool { return a.raw != nil && !a.dead && !a.lost && a.queued-a.peer.seen <= smallBytes }
	a.p.wait("what is to be written", func() bool { return !little() || a.sent == a.queued })
	if a.p.s.network == "unix" {
		return
	}
	// Nobody reports this, so it is polled. What is in flight when the peer resets the connection
	// is counted for ever: also what was never accepted, which Shutdown resets, is over.
	for is := true; is && !a.p.r.stuck.Load(); {
		a.p.mu.Lock()
		is = little() && !a.peer.finishedLocked()
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
