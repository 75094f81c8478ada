package simtest

import (
	"context"
	"errors"
	"fmt"
	"net"

	"github.com/pollux-io/pollux/internal/testkit"
	"github.com/pollux-io/pollux/loop"
	"github.com/pollux-io/pollux/sock"
)

var (
	errModel    = errors.New("an error of the model")
	errData     = fmt.Errorf("%w: of Data", errModel)
	errClosing  = fmt.Errorf("%w: of CloseWith", errModel)
	errAborting = fmt.Errorf("%w: of AbortWith", errModel)
)

// conn is a connection, or two that a relay couples, and its ends.
type conn struct {
	*connection
	w      *world
	i      int
	g      *group
	host   *host // of its peers; nil on a Unix socket
	ends   [2]*end
	listen string // the address to dial
	ln     *loop.Listener
	peerLn net.Listener

	// The rest is guarded by the world's mu.
	opening bool // opOpen was done
	failed  bool // connecting failed
	relays  int  // calls of OnEnd that are still to come
	relay   loop.RelayEnd
}

// newConn makes the listeners that a connection needs.
func (w *world) newConn(i int) *conn {
	c := &conn{connection: &w.p.conns[i], w: w, i: i}
	c.g = w.groups[c.group]
	if c.network == "tcp" {
		c.host = w.hosts[c.peerHost]
	}
	for j := range c.ends {
		e := &end{c: c, i: j, inc: &incarnation{}}
		e.out.offset = (7919*i + 104729*j + int(w.p.seed%testkit.TextBytes)) % testkit.TextBytes
		c.ends[j] = e
	}
	a, b := c.ends[0], c.ends[1]
	a.peer, b.peer, a.in, b.in = b, a, &b.out, &a.out
	switch c.kind {
	case dialed:
		c.listenAsPeer()
	case relayed:
		address := c.listenAsPeer()
		h, err := loop.RelayTo(c.network, address, loop.RelayConfig{OnEnd: c.relayEnded})
		c.check(err)
		c.listenOnLoop(func(*loop.Conn) loop.Handler {
			w.called()
			w.locked(func() { c.relays++ })
			return h
		})
	case accepted:
		if c.shared {
			c.listen = c.g.listenShared()
			break
		}
		fallthrough
	default:
		c.listenOnLoop(a.accept)
	}
	return c
}

// check reports an error of the preparations.
func (c *conn) check(err error) {
	if err != nil {
		panic(fmt.Sprintf("conn %d: %v", c.i, err))
	}
}

func (c *conn) options() (list []sock.Option) {
	if c.small {
		list = append(list, sock.WriteBuffer(4<<10), sock.ReadBuffer(16<<10))
	}
	return list
}

// peers returns the host of the peers.
func (c *conn) peers() peerHost {
	if c.host == nil {
		return c.w.server
	}
	return c.host
}

func (c *conn) listenOnLoop(accept func(*loop.Conn) loop.Handler) {
	address := ":0"
	if c.network == "unix" {
		address = fmt.Sprintf("loop%d", c.i)
	}
	ln, err := c.g.g.Listen(c.network, address, accept, c.options()...)
	c.check(err)
	c.ln, c.listen = ln, ln.Addr().String()
	if c.network == "tcp" {
		c.listen = fmt.Sprintf("%v:%d", c.w.server.Addr(), ln.Addr().(*net.TCPAddr).Port)
	}
}

// listenShared returns the address of the group's listener for several connections. Their peers have ports of
// their own, by which they are known.
func (g *group) listenShared() string {
	w := g.w
	if g.ln == nil {
		ln, err := g.g.Listen("tcp", ":0", func(lc *loop.Conn) loop.Handler {
			a, ok := lc.RemoteAddr().(*net.TCPAddr)
			if !ok { // it was reset before
				w.called()
				return nil
			}
			return w.conns[a.Port-firstPeerPort].ends[0].accept(lc)
		})
		if err != nil {
			panic(err)
		}
		g.ln = ln
	}
	return fmt.Sprintf("%v:%d", w.server.Addr(), g.ln.Addr().(*net.TCPAddr).Port)
}

// firstPeerPort is the port of the peer of the first connection. The others follow.
const firstPeerPort = 10_000

// listenAsPeer returns the address at which a peer listens.
func (c *conn) listenAsPeer() string {
	address := fmt.Sprintf("peer%d", c.i)
	if c.network == "tcp" {
		address = fmt.Sprintf("%v:0", c.host.Addr())
	}
	ln, err := c.peers().Listen(c.network, address)
	c.check(err)
	c.peerLn, c.listen = ln, ln.Addr().String()
	return c.listen
}

// open connects.
func (c *conn) open() {
	w, again := c.w, false
	w.locked(func() { again, c.opening = c.opening, true })
	if again {
		return
	}
	a, b := c.ends[0], c.ends[1]
	if c.peerLn != nil {
		b.acceptPlayer(c.peerLn)
	}
	switch c.kind {
	case accepted, fanned:
		b.dialPlayer()
	case relayed:
		a.dialPlayer()
	case dialed:
		c.dial(c.g, a)
	case loopToLoop:
		c.dial(w.groups[(c.group+1)%len(w.groups)], b)
	}
}

// dial dials e by one of g's loops.
func (c *conn) dial(g *group, e *end) {
	l := g.g.Loops()[c.i%c.w.p.setting.loops]
	done := func(_ *loop.Conn, err error) {
		c.w.called()
		if err != nil {
			c.connectFailed("dial", err)
		}
	}
	c.w.called()
	if err := l.Dial(context.Background(), c.network, c.listen, e.accept, done, c.options()...); err != nil {
		c.connectFailed("dial", err)
	}
}

// connectFailed records that connecting has failed, for which there must be a reason.
func (c *conn) connectFailed(what string, err error) {
	w := c.w
	w.locked(func() {
		c.failed = true
		a, b := c.ends[0], c.ends[1]
		if !c.disturbedLocked() && !w.limited && !a.mayResetLocked() && !b.mayResetLocked() && !a.inc.opened && !b.inc.opened {
			w.failedLocked(c, "%s: %v", what, err)
		}
	})
	if c.peerLn != nil {
		c.peerLn.Close()
	}
}

// relayEnded is called when the relay has ended.
func (c *conn) relayEnded(r loop.RelayEnd) {
	c.w.called()
	c.w.locked(func() {
		if c.relays--; c.relays < 0 {
			c.w.failedLocked(c, "OnEnd was called twice")
		}
		c.relay = r
		if r.Err != nil && r.B == nil {
			c.failed = true
		}
		a, b := &c.ends[0].out, &c.ends[1].out
		mayEnd := c.disturbedLocked() || c.w.limited || c.ends[0].mayResetLocked() || c.ends[1].mayResetLocked()
		switch {
		case r.Err != nil && !mayEnd:
			c.w.failedLocked(c, "the relay ended with %v", r.Err)
		case r.BytesAToB > int64(a.offered) || r.BytesBToA > int64(b.offered):
			c.w.failedLocked(c, "the relay counted %d and %d bytes", r.BytesAToB, r.BytesBToA)
		case r.Err == nil && (r.BytesAToB != int64(a.sent) || r.BytesBToA != int64(b.sent)):
			c.w.failedLocked(c, "the relay ended without an error, with %d and %d bytes", r.BytesAToB, r.BytesBToA)
		}
	})
}

// disturbedLocked reports whether the network, or the end of a group, may have ended the connection, or
// prevented it.
func (c *conn) disturbedLocked() bool {
	h := c.host
	return c.failed || c.kind == relayed && c.w.limited || c.w.p.network.faults.Resets > 0 || c.w.p.setting.linger < noLinger || c.w.anyShutdownLocked() ||
		h != nil && (h.crashed || h.timedOut)
}

func (w *world) anyShutdownLocked() bool {
	for _, g := range w.groups {
		if g.shutdownBegun {
			return true
		}
	}
	return false
}
