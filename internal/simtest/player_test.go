package simtest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"syscall"
	"time"

	"github.com/pollux-io/pollux/internal/simnet"
	"github.com/pollux-io/pollux/internal/sys"
)

// peerHost is a host on which peers listen and dial.
type peerHost interface {
	Listen(network, address string) (*simnet.Listener, error)
	DialFrom(ctx context.Context, network, local, address string) (*simnet.Conn, error)
}

// netConn is what a player plays on.
type netConn interface {
	net.Conn
	syscall.Conn
	CloseWrite() error
	SetLinger(seconds int) error
}

// player is an end that two goroutines play with blocking calls: a peer, or a detached connection. The
// world's mu guards its fields, unless stated otherwise.
type player struct {
	e              *end
	conn           netConn // nil until it is connected
	reader, writer *simnet.Actor

	budget     int  // bytes that it may read yet
	most       int  // bytes of one read; 0: no limit
	slow       bool // waits a millisecond after each read
	cutAt      int  // it resets when it has seen so many bytes; noCut: it does not
	queued     int  // bytes that it was asked to write
	fin        bool // it closes its side after the queued bytes
	finSent    bool
	dead       bool // it was closed or reset, or its host crashed
	closed     bool // Close was called
	eof        bool
	noread     bool // its reader has ended
	nowrite    bool // its writer has ended
	lost       bool // a write got an error
	connecting bool // it may be connected yet
	dialing    bool // Dial has not returned
	readErr    error
}

const (
	unlimited = 1 << 30
	noCut     = -1
)

func (e *end) newPlayer() *player {
	n := e.c.w.n
	return &player{e: e, reader: n.NewActor(), writer: n.NewActor(), budget: unlimited, cutAt: noCut, connecting: true}
}

// ensurePlayerLocked returns the player of a peer, which may not be connected yet.
func (e *end) ensurePlayerLocked() *player {
	if e.player == nil {
		e.player = e.newPlayer()
	}
	return e.player
}

// acceptPlayer accepts a peer, in a goroutine.
func (e *end) acceptPlayer(ln net.Listener) {
	var p *player
	e.c.w.locked(func() { p = e.ensurePlayerLocked() })
	go func() {
		c, err := ln.Accept()
		ln.Close()
		if err != nil {
			p.notConnected(nil)
			return
		}
		p.play(c.(netConn))
	}()
}

// dialPlayer connects a peer, in a goroutine.
func (e *end) dialPlayer() {
	var p *player
	e.c.w.locked(func() {
		p = e.ensurePlayerLocked()
		p.dialing = true
	})
	go func() {
		c, err := e.dialAsPeer()
		e.c.w.locked(func() { p.dialing = false })
		if err != nil {
			p.notConnected(err)
			return
		}
		p.play(c)
	}()
}

func (e *end) dialAsPeer() (*simnet.Conn, error) {
	local := ""
	if e.c.network == "tcp" {
		local = fmt.Sprintf("%v:%d", e.c.host.Addr(), firstPeerPort+e.c.i)
	}
	return e.c.peers().DialFrom(context.Background(), e.c.network, local, e.c.listen)
}

// notConnected ends a player that is not connected. The error is nil if the other end has reported it.
func (p *player) notConnected(err error) {
	p.e.c.w.locked(func() { p.connecting, p.dead, p.noread, p.nowrite = false, true, true, true })
	if err != nil {
		p.e.c.connectFailed("a peer's dial", err)
	}
}

// play starts the goroutines.
func (p *player) play(c netConn) {
	dead := false
	p.e.c.w.locked(func() { p.conn, p.connecting, dead = c, false, p.dead })
	if dead { // it was closed before
		c.SetLinger(0)
		c.Close()
	}
	go p.read()
	go p.write()
}

func (p *player) read() {
	buf := make([]byte, 32<<10)
	w := p.e.c.w
	for {
		n := 0
		w.locked(func() {
			n = min(p.budget, len(buf))
			if p.most > 0 {
				n = min(n, p.most)
			}
			if p.dead || p.noread {
				n = 1 // to get the error
			}
		})
		if n == 0 {
			p.reader.Wait(-1)
			continue
		}
		w.called()
		k, err := p.conn.Read(buf[:n])
		slow, cut := false, false
		w.locked(func() {
			p.receivedLocked(buf[:k], err)
			slow, cut = p.slow, p.cutAt != noCut && p.e.in.seen >= p.cutAt
		})
		if cut {
			p.end(true)
		}
		if err != nil {
			return
		}
		if slow {
			p.reader.Wait(time.Millisecond)
		}
	}
}

func (p *player) receivedLocked(b []byte, err error) {
	e, w := p.e, p.e.c.w
	e.checkBytesLocked(b, e.consumed)
	e.consumed += len(b)
	e.in.seen = max(e.in.seen, e.consumed)
	p.budget = max(0, p.budget-len(b)) // opRead may have lowered it during the read
	if err == nil {
		return
	}
	p.noread, p.readErr, p.eof = true, err, err == io.EOF
	switch {
	case p.eof && !e.peer.mayEndLocked():
		w.failedLocked(e.c, "end %d read EOF, but the other end has not closed", e.i)
	case p.eof && e.in.seen < e.peer.dueLocked():
		w.failedLocked(e.c, "end %d read EOF after %d bytes, want %d", e.i, e.in.seen, e.peer.dueLocked())
	case !p.eof && !p.dead && !e.peer.mayResetLocked():
		w.failedLocked(e.c, "end %d read %v, but the other end has not reset", e.i, err)
	case !p.eof && !p.dead && !errors.Is(err, syscall.ECONNRESET) && !errors.Is(err, syscall.ETIMEDOUT):
		w.failedLocked(e.c, "end %d read %v", e.i, err)
	}
}

func (p *player) write() {
	e, w := p.e, p.e.c.w
	for {
		var b []byte
		fin := false
		w.locked(func() {
			n := min(p.queued, maxChunk)
			b = e.out.text(e.out.sent, n)
			e.out.offered = max(e.out.offered, e.out.sent+n)
			fin = p.fin
		})
		var k int
		var err error
		switch {
		case len(b) > 0:
			w.called()
			k, err = p.conn.Write(b)
		case fin:
			err = p.conn.CloseWrite()
		default:
			dead := false
			if w.locked(func() { dead = p.dead }); !dead {
				p.writer.Wait(-1)
				continue
			}
		}
		done := false
		w.locked(func() {
			e.out.sent += k
			p.queued -= k
			p.lost = p.lost || err != nil
			if err != nil && !p.dead && !e.peer.mayBeClosedLocked() {
				w.failedLocked(e.c, "end %d: writing got %v", e.i, err)
			}
			done = err != nil || len(b) == 0
			p.nowrite = done
			p.finSent = done && err == nil && fin
		})
		if done {
			return
		}
	}
}

// end closes or resets the connection at once.
func (p *player) end(reset bool) {
	var c netConn
	p.e.c.w.locked(func() {
		p.e.noteArrivedLocked()
		p.dead = true
		if !p.closed {
			c, p.closed = p.conn, p.conn != nil
		}
	})
	if c != nil {
		if reset {
			c.SetLinger(0)
		}
		c.Close()
	}
	p.reader.Wake()
	p.writer.Wake()
}

// noteArrivedLocked notes how many bytes of a player's have certainly arrived. After a reset the socket
// does not know it any more.
func (e *end) noteArrivedLocked() {
	p := e.player
	if p == nil || p.conn == nil || p.dead || p.lost || e.peer.mayResetLocked() || e.c.disturbedLocked() {
		return
	}
	raw, err := p.conn.SyscallConn()
	if err != nil {
		return
	}
	raw.Control(func(fd uintptr) {
		if s := sys.Virtual(sys.FD(fd)); s != nil {
			if n, known := s.UnackedBytes(); known {
				e.out.arrived = max(e.out.arrived, e.out.sent-n)
			}
		}
	})
}

// doPeer does a step of a peer.
func (e *end) doPeer(s step) {
	var p *player
	w := e.c.w
	w.called()
	w.locked(func() {
		p = e.ensurePlayerLocked()
		switch s.op {
		case opWrite:
			if !p.fin {
				p.queued += s.n
			}
		case opRead:
			if p.budget == unlimited {
				p.budget = 0
			}
			p.budget += s.n
		case opSlow:
			p.slow, p.most = true, s.n
		case opFIN:
			p.fin = true
		case opCutAt:
			p.cutAt = e.in.seen + s.n
		}
	})
	switch s.op {
	case opRST:
		p.end(true)
	case opHardClose:
		p.end(false)
	}
	p.reader.Wake()
	p.writer.Wake()
}
