package simtest

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"

	"github.com/pollux-io/pollux/internal/driver"
	"github.com/pollux-io/pollux/internal/simnet"
	"github.com/pollux-io/pollux/loop"
	"github.com/pollux-io/pollux/sock"
)

// packets is a UDP address that the first group serves, and a peer on the first host.
type packets struct {
	w       *world
	ln      *loop.PacketListener
	peer    *simnet.PacketConn // receives
	sender  *sock.UDPSocket    // sends without waiting, so that many datagrams arrive at once
	address netip.AddrPort

	// The world's mu guards the rest.
	conns        []*loop.PacketConn // by loop; nil: it has no socket
	toLoop       datagrams
	toPeer       datagrams
	writableDue  bool
	lost, closed bool // a datagram may have been lost; the peer was closed
}

// datagrams are those of one direction. Each begins with its number.
type datagrams struct {
	sizes []int
	got   []int // how often each has arrived
	last  int   // the number of the one that has arrived last
}

const datagramHeader = 4

// next returns the next datagram, with n bytes of text.
func (d *datagrams) next(n int) []byte {
	number := len(d.sizes)
	d.sizes, d.got = append(d.sizes, n), append(d.got, 0)
	b := binary.BigEndian.AppendUint32(nil, uint32(number))
	return append(b, text[number:number+n]...)
}

// withdraw takes back the last k datagrams, which were not sent.
func (d *datagrams) withdraw(k int) {
	d.sizes, d.got = d.sizes[:len(d.sizes)-k], d.got[:len(d.got)-k]
}

// check returns what is wrong with a datagram that has arrived, or "".
func (d *datagrams) check(b []byte, mayReorder, mayDuplicate bool) string {
	if len(b) < datagramHeader {
		return fmt.Sprintf("a datagram has %d bytes", len(b))
	}
	number := int(binary.BigEndian.Uint32(b))
	if number >= len(d.sizes) || len(b) != datagramHeader+d.sizes[number] || !bytes.Equal(b[datagramHeader:], text[number:number+d.sizes[number]]) {
		return fmt.Sprintf("datagram %d of %d differs from the one that was sent", number, len(d.sizes))
	}
	d.got[number]++
	overtaken := number < d.last && !mayReorder
	d.last = number
	switch {
	case d.got[number] > 1 && !mayDuplicate:
		return fmt.Sprintf("datagram %d has arrived %d times", number, d.got[number])
	case overtaken:
		return fmt.Sprintf("datagram %d was overtaken", number)
	}
	return ""
}

// missing returns the number of the first datagram that has not arrived, or -1.
func (d *datagrams) missing() int {
	for i, n := range d.got {
		if n == 0 {
			return i
		}
	}
	return -1
}

func (w *world) newPackets() *packets {
	p := &packets{w: w, conns: make([]*loop.PacketConn, w.p.setting.loops)}
	must := func(err error) {
		if err != nil {
			panic(err)
		}
	}
	var err error
	p.peer, err = w.hosts[0].ListenPacket("udp", w.hosts[0].Addr().String()+":0")
	must(err)
	p.sender, err = sock.ListenUDP(netip.AddrPortFrom(w.hosts[0].Addr(), 0), sock.OnNetwork(hostNetwork(w.hosts[0].Host, 0)))
	must(err)
	p.ln, err = w.groups[0].g.ListenPacket("udp", w.server.Addr().String()+":0", func(c *loop.PacketConn) loop.PacketHandler {
		w.called()
		w.locked(func() { p.conns[c.Loop().Index()] = c })
		return p
	})
	must(err)
	p.address = p.ln.Addr().(*net.UDPAddr).AddrPort()
	go p.receive()
	return p
}

func (p *packets) mayReorder() bool {
	l := p.w.p.network.link
	return l.Reorder > 0 || l.Jitter > 0
}

// arrivedLocked checks a datagram that has arrived.
func (p *packets) arrivedLocked(d *datagrams, where string, b []byte) {
	if wrong := d.check(b, p.mayReorder(), p.w.p.network.link.Duplicate > 0); wrong != "" {
		p.w.failLocked(where + ": " + wrong)
	}
}

// Packets implements loop.PacketHandler. It answers every other datagram.
func (p *packets) Packets(c *loop.PacketConn, ms []sock.Message) {
	p.w.called()
	for _, m := range ms {
		p.w.locked(func() { p.arrivedLocked(&p.toLoop, "the loop's UDP socket", m.Data[:m.N]) })
		if m.N%2 == 0 {
			p.send(c, []int{m.N - datagramHeader})
		}
	}
}

// Writable implements loop.WritableHandler.
func (p *packets) Writable(*loop.PacketConn) {
	p.w.called()
	p.w.locked(func() {
		if !p.writableDue {
			p.w.failLocked("Writable was called, but no write would have blocked")
		}
		p.writableDue = false
	})
}

// send sends datagrams of the given lengths to the peer, together.
func (p *packets) send(c *loop.PacketConn, sizes []int) {
	to := p.peer.LocalAddr().(*net.UDPAddr).AddrPort()
	var ms []sock.Message
	p.w.locked(func() {
		for _, n := range sizes {
			ms = append(ms, sock.Message{Data: p.toPeer.next(n), Addr: to})
		}
	})
	p.w.called()
	sent, err := c.WriteBatch(ms)
	p.w.locked(func() {
		p.toPeer.withdraw(len(ms) - sent)
		switch {
		case err == nil && sent == len(ms):
		case errors.Is(err, sock.ErrWouldBlock):
			p.writableDue = true
		case errors.Is(err, loop.ErrClosed) && p.w.groups[0].shutdownBegun:
		default:
			p.w.failLocked(fmt.Sprintf("WriteBatch of %d datagrams = %d, %v", len(ms), sent, err))
		}
	})
}

// burst is more datagrams than one batch of a driver has.
const burst = 2*driver.MaxPackets + 1

// sendDatagrams sends one or a burst from the peer, and some from the first loop's socket.
func (w *world) sendDatagrams(n int) {
	p := w.packets
	var ms []sock.Message
	var from *loop.PacketConn
	w.locked(func() {
		ms = append(ms, sock.Message{Data: p.toLoop.next(n), Addr: p.address})
		for range burst {
			if n%4 == 0 {
				ms = append(ms, sock.Message{Data: p.toLoop.next(n % 100), Addr: p.address})
			}
		}
		from = p.conns[0]
		p.lost = p.lost || w.groups[0].shutdownBegun || w.hosts[0].crashed
	})
	w.called()
	sent, err := p.sender.WriteBatch(ms)
	w.locked(func() {
		p.toLoop.withdraw(len(ms) - sent)
		if err != nil && !errors.Is(err, sock.ErrWouldBlock) && !p.lost {
			w.failLocked(fmt.Sprintf("the UDP peer's write: %v", err))
		}
	})
	if from != nil {
		p.send(from, []int{n, n / 2, 0}[:1+n%3])
	}
}

// receive is the peer's goroutine.
func (p *packets) receive() {
	buf := make([]byte, 64<<10)
	for {
		n, _, err := p.peer.ReadFromUDPAddrPort(buf)
		p.w.called()
		p.w.locked(func() {
			if err == nil {
				p.arrivedLocked(&p.toPeer, "the UDP peer", buf[:n])
			} else if !p.closed && !p.w.hosts[0].crashed {
				p.w.failLocked(fmt.Sprintf("the UDP peer's read: %v", err))
			}
		})
		if err != nil {
			return
		}
	}
}

// missingLocked returns what is still to happen.
func (p *packets) missingLocked() string {
	h := p.w.hosts[0]
	switch a, b := p.toLoop.missing(), p.toPeer.missing(); {
	case p.w.groups[0].shutdownBegun || h.crashed:
		return ""
	case p.writableDue:
		return "Writable"
	case p.lost || h.partitioned || p.w.p.network.link.Loss > 0:
		return ""
	case a >= 0:
		return fmt.Sprintf("datagram %d to the loop", a)
	case b >= 0:
		return fmt.Sprintf("datagram %d to the peer", b)
	}
	return ""
}

func (p *packets) close() {
	p.w.locked(func() { p.closed = true })
	p.peer.Close()
	p.sender.Close()
}
