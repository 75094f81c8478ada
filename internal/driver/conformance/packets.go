package conformance

import (
	"bytes"
	"encoding/binary"
	"errors"
	"net"
	"net/netip"
	"sync"
	"syscall"
	"time"

	"github.com/pollux-io/pollux/internal/driver"
	"github.com/pollux-io/pollux/sock"
)

var packetTests = []test{
	{"datagrams and their senders", usual, datagrams},
	{"datagrams received before Bind", usual, beforeBind},
	{"many datagrams", usual, manyAtOnce},
	{"many sockets", usual, manySockets},
	{"a flood on one socket leaves the others their turn", usual, flood},
	{"nothing after Unbind", usual, nothingAfterUnbind},
	{"Unbind from inside Packets", usual, unbindInside},
	{"Unbind of a socket that Bind refused", usual, unbindRefused},
	{"Unbind closes the socket", usual, unbindCloses},
	{"an error about a sent datagram", usual, sendErrorIgnored},
	{"AwaitWritable", usual, awaitWritable},
	{"AwaitWritable, then Unbind", usual, awaitThenUnbind},
	{"SendPackets", usual, sendPackets},
	{"SendPackets with a full queue", usual, sendQueueFull},
	{"SendPackets of invalid datagrams", usual, sendInvalid},
	{"SendPackets, then Unbind", usual, sendThenUnbind},
	{"SendPackets from another goroutine, inside an upcall", usual, sendFromElsewhere},
	{"L12 SendPackets in the order of the calls", usual, sendInOrder},
	{"L12 QueuePackets in the order of the calls", usual, queueInOrder},
	{"L12 nothing overtakes a blocked datagram", usual, orderWhileBlocked},
	{"SendPackets, then Unbind, sends", usual, sendThenUnbindSends},
	{"SendPackets, then Close and Unbind, sends", usual, sendThenCloseSends},
	{"allocations", usual, packetAllocs},
}

// packetSocket is a datagram socket that records its upcalls and checks which are allowed.
type packetSocket struct {
	driver.PacketSocket
	h           *harness
	onPackets   func(ms []sock.Message)
	onWritable  func()
	got         []string // datagrams
	from        []netip.AddrPort
	truncated   int
	batches     int
	writables   int
	failures    []error
	failedBytes int
	bound       bool
	released    bool
}

func (h *harness) udp(options ...sock.Option) *sock.UDPSocket {
	h.Helper()
	u, err := h.listenUDP(loopback, options...)
	h.must(err)
	h.others = append(h.others, u)
	return u
}

// packetSocket returns a socket that is not bound to the driver yet.
func (h *harness) packetSocket(options ...sock.Option) *packetSocket {
	h.Helper()
	p := &packetSocket{h: h}
	p.UDPSocket, p.Up = h.udp(options...), (*packetUpcalls)(p)
	h.packets = append(h.packets, p)
	return p
}

func (p *packetSocket) bind() *packetSocket {
	p.h.Helper()
	p.h.call("Bind", func() { p.h.must(p.h.drv.Bind(&p.PacketSocket)) })
	p.bound = true
	return p
}

func (p *packetSocket) unbind() {
	if p.bound {
		p.bound = false
		p.h.call("Unbind", func() { p.h.drv.Unbind(&p.PacketSocket) })
	}
}

type packetUpcalls packetSocket

func (u *packetUpcalls) upcall(what string, f func(p *packetSocket)) {
	p := (*packetSocket)(u)
	p.h.upcall(what, func() {
		if !p.bound {
			p.h.Errorf("%s of a socket that is not bound", what)
		}
		f(p)
	})
}

func (u *packetUpcalls) Packets(ms []sock.Message) {
	u.upcall("Packets", func(p *packetSocket) {
		if len(ms) == 0 || len(ms) > driver.MaxPackets {
			p.h.Errorf("Packets with %d datagrams, want 1 to %d", len(ms), driver.MaxPackets)
		}
		p.batches++
		for i := range ms {
			m := &ms[i]
			p.got = append(p.got, string(m.Data[:m.N]))
			p.from = append(p.from, m.Addr)
			if m.Truncated {
				p.truncated++
			}
		}
		if p.onPackets != nil {
			p.onPackets(ms)
		}
		// The handler may change the messages.
		for i := range ms {
			clear(ms[i].Data)
			ms[i] = sock.Message{}
		}
	})
}

// Released may come from inside Unbind or from Turn, but from no other method.
func (u *packetUpcalls) Released() {
	if u.h.method != "" && u.h.method != "Unbind" {
		u.h.Errorf("Released from inside %s", u.h.method)
	}
	if u.bound || u.released {
		u.h.Errorf("Released before Unbind, or twice")
	}
	u.released = true
}

func (u *packetUpcalls) Writable() {
	u.upcall("Writable", func(p *packetSocket) {
		p.writables++
		if p.onWritable != nil {
			p.onWritable()
		}
	})
}

func (u *packetUpcalls) SendFailed(n int, err error) {
	u.upcall("SendFailed", func(p *packetSocket) {
		p.failures = append(p.failures, err)
		p.failedBytes += n
	})
}

// sendFrom sends a datagram to the socket.
func (p *packetSocket) sendFrom(from *sock.UDPSocket, data string) {
	p.h.Helper()
	_, err := from.WriteTo([]byte(data), p.LocalAddr())
	p.h.must(err)
}

func datagrams(h *harness) {
	p, u := h.packetSocket().bind(), h.udp()
	sent := []string{"one", "", "three", string(text[:1400]), string(text[:30_000]), string(text[:60_000]), "last"}
	for range 3 {
		p.got, p.from = nil, nil
		for i, data := range sent {
			p.sendFrom(u, data)
			if i%2 == 0 {
				h.until("a datagram", func() bool { return len(p.got) == i+1 })
			}
		}
		h.until("all of them", func() bool { return len(p.got) == len(sent) })
		h.expectQuiet("nothing more was sent")
		for i, data := range sent {
			if p.got[i] != data {
				h.Errorf("datagram %d has %d bytes, want %d, or its bytes differ", i, len(p.got[i]), len(data))
			}
			if p.from[i] != u.LocalAddr() {
				h.Errorf("the source address of datagram %d is %v, want %v", i, p.from[i], u.LocalAddr())
			}
		}
	}
	if p.truncated > 0 {
		h.Errorf("%d datagrams were reported as truncated", p.truncated)
	}
}

func beforeBind(h *harness) {
	p, u := h.packetSocket(), h.udp()
	p.sendFrom(u, "early")
	p.sendFrom(u, "bird")
	p.bind()
	h.until("both", func() bool { return len(p.got) == 2 })
	h.expectQuiet("nothing more was sent")
}

// manyAtOnce sends more datagrams than one or two batches take, several times.
func manyAtOnce(h *harness) {
	p, u := h.packetSocket(sock.ReadBuffer(1<<20)).bind(), h.udp()
	for round := range 5 {
		p.got = nil
		for i := range 200 {
			p.sendFrom(u, string(text[i:2*i]))
		}
		h.until("all of them", func() bool { return len(p.got) == 200 })
		for i, got := range p.got {
			if got != string(text[i:2*i]) {
				h.Fatalf("round %d: datagram %d has %d bytes, want %d, or its bytes differ", round, i, len(got), i)
			}
		}
		h.expectQuiet("nothing more was sent")
	}
}

// manySockets: each of many sockets receives its own datagrams, and answers.
func manySockets(h *harness) {
	u := h.udp(sock.ReadBuffer(1 << 20))
	sockets := make([]*packetSocket, 100)
	for i := range sockets {
		p := h.packetSocket().bind()
		p.onPackets = func(ms []sock.Message) {
			for i := range ms {
				_, err := p.WriteTo(ms[i].Data[:ms[i].N], ms[i].Addr)
				h.must(err)
			}
		}
		sockets[i] = p
	}
	b := make([]byte, 100)
	for round := range 5 {
		for i, p := range sockets {
			p.sendFrom(u, string(rune('A'+round))+string(text[i:i+9]))
		}
		h.until("each socket's datagram", func() bool {
			for _, p := range sockets {
				if len(p.got) <= round {
					return false
				}
			}
			return true
		})
		for i, p := range sockets {
			if want := string(rune('A'+round)) + string(text[i:i+9]); p.got[round] != want {
				h.Fatalf("socket %d received %q, want %q", i, p.got[round], want)
			}
		}
		answers := 0
		h.waitFor("the answers", func() bool {
			for {
				if _, _, err := u.ReadFrom(b); err != nil {
					return answers == len(sockets)
				}
				answers++
			}
		})
	}
}

// flood sends to a socket from inside its own upcall, so that it always has more to receive.
func flood(h *harness) {
	a, b, u := h.packetSocket(sock.ReadBuffer(1<<20)).bind(), h.packetSocket().bind(), h.udp()
	stop := false
	refill := func(n int) {
		for range n {
			a.sendFrom(u, "x")
		}
	}
	a.onPackets = func(ms []sock.Message) {
		if !stop {
			refill(len(ms))
		}
	}
	refill(100)
	h.until("the first", func() bool { return len(a.got) > 0 })
	b.sendFrom(u, "me too")
	for turns := 0; len(b.got) == 0; turns++ {
		if turns > 3 {
			h.Fatalf("after %d turns and %d datagrams of one socket, the other one has received none", turns, len(a.got))
		}
		h.turn(forever)
	}
	stop = true
	h.untilQuiet()
}

func nothingAfterUnbind(h *harness) {
	for range 10 {
		p, u := h.packetSocket().bind(), h.udp()
		p.sendFrom(u, "first")
		h.until("the first", func() bool { return len(p.got) == 1 })
		p.sendFrom(u, "second")
		p.unbind()
		h.expectQuiet("the socket was unbound")
	}
}

// unbindInside: of several sockets with datagrams in one batch, the first upcall unbinds all others,
// or itself, and binds a new one, which has no datagram and reuses an index.
func unbindInside(h *harness) {
	for round := range 20 {
		u := h.udp()
		sockets := make([]*packetSocket, 5)
		var next *packetSocket
		calls := 0
		for i := range sockets {
			p := h.packetSocket().bind()
			p.onPackets = func([]sock.Message) {
				if calls++; calls > 1 {
					return
				}
				for j, other := range sockets {
					if (j == i) == (round%2 == 0) {
						other.unbind()
					}
				}
				next = h.packetSocket().bind()
			}
			sockets[i] = p
		}
		h.untilQuiet()
		for _, p := range sockets {
			p.sendFrom(u, "strike")
			p.sendFrom(u, "strike again")
		}
		h.until("the first", func() bool { return calls > 0 })
		h.untilQuiet()
		if len(next.got) > 0 {
			h.Error("a socket to which nothing was sent received another socket's datagram")
		}
		next.sendFrom(u, "mine")
		h.until("its own datagram", func() bool { return len(next.got) == 1 })
		for _, p := range sockets {
			p.unbind()
		}
		next.unbind()
	}
}

func unbindRefused(h *harness) {
	p := h.packetSocket()
	h.must(p.UDPSocket.Close())
	h.call("Bind", func() {
		if err := h.drv.Bind(&p.PacketSocket); err == nil {
			h.Error("Bind succeeded on a closed socket")
		}
	})
	h.call("Unbind", func() { h.drv.Unbind(&p.PacketSocket) })
	h.until("Released", func() bool { return p.released })
	other := h.packetSocket().bind()
	other.sendFrom(h.udp(), "x")
	h.until("another's datagram", func() bool { return len(other.got) == 1 })
}

func unbindCloses(h *harness) {
	p := h.packetSocket().bind()
	at := p.LocalAddr()
	p.sendFrom(h.udp(), "x")
	h.until("a datagram", func() bool { return len(p.got) == 1 })
	p.unbind()
	h.until("Released", func() bool { return p.released })
	if _, err := p.Write(nil); !errors.Is(err, net.ErrClosed) {
		h.Errorf("writing to an unbound socket: %v", err)
	}
	h.pollUntil("the address to be free again", func() bool {
		u, err := h.listenUDP(at)
		if err == nil {
			u.Close()
		}
		return err == nil
	})
}

// sendErrorIgnored: an ICMP error about a datagram that a connected socket sent does not end
// receiving.
func sendErrorIgnored(h *harness) {
	if onWine() {
		h.Skip("skipped under Wine: it reports nothing more about a socket after an ICMP error")
	}
	u := h.udp()
	at := u.LocalAddr()
	p := h.packetSocket().bind()
	h.must(p.Connect(at))
	h.must(u.Close())
	for range 3 {
		p.Write([]byte("hello?"))
		h.turn(time.Millisecond)
	}
	u, err := h.listenUDP(at)
	h.must(err)
	h.others = append(h.others, u)
	p.sendFrom(u, "hello")
	h.until("a datagram after an ICMP error", func() bool { return len(p.got) == 1 })
}

// blockableSocket returns a socket whose sends can block, and the address to send to for that.
func (h *harness) blockableSocket() (*packetSocket, netip.AddrPort) {
	h.Helper()
	silent := h.machine.SilentHost(h)
	p := &packetSocket{h: h}
	u, err := h.listenUDP(netip.AddrPortFrom(netip.IPv4Unspecified(), 0), sock.WriteBuffer(16<<10))
	h.must(err)
	h.others = append(h.others, u)
	p.UDPSocket, p.Up = u, (*packetUpcalls)(p)
	h.packets = append(h.packets, p)
	return p.bind(), netip.AddrPortFrom(silent, 9)
}

// fillSendBuffer sends until a send would block.
func (p *packetSocket) fillSendBuffer(to netip.AddrPort) {
	p.h.Helper()
	for range 1000 {
		if _, err := p.WriteTo(text[:1000], to); err != nil {
			if err != sock.ErrWouldBlock {
				p.h.Fatal(err)
			}
			return
		}
	}
	p.h.Fatalf("sent a thousand datagrams to %v, and none would block", to)
}

func (p *packetSocket) await() {
	p.h.call("AwaitWritable", func() { p.h.drv.AwaitWritable(&p.PacketSocket) })
}

func awaitWritable(h *harness) {
	p, to := h.blockableSocket()
	u := h.udp()
	h.expectQuiet("AwaitWritable was not called")
	for i := range 2 {
		p.fillSendBuffer(to)
		h.expectQuiet("AwaitWritable was not called")
		p.await()
		p.await()
		h.expectQuiet("the socket is not writable")
		_, err := u.WriteTo([]byte("meanwhile"), netip.AddrPortFrom(loopback.Addr(), p.LocalAddr().Port()))
		h.must(err)
		h.until("a datagram", func() bool { return len(p.got) == i+1 })
		h.until("Writable", func() bool { return p.writables == i+1 })
		h.expectQuiet("Writable was called")
	}
}

func awaitThenUnbind(h *harness) {
	p, to := h.blockableSocket()
	p.fillSendBuffer(to)
	p.await()
	h.expectQuiet("the socket is not writable")
	p.unbind()
	h.expectQuiet("the socket was unbound")
}

// sender returns the driver as a PacketSender, or skips the test.
func (h *harness) sender() driver.PacketSender {
	s, ok := h.drv.(driver.PacketSender)
	if !ok {
		h.Skip("this driver leaves sending datagrams to the sockets")
	}
	return s
}

// read reads n datagrams from a socket, while the driver turns.
func (h *harness) read(u *sock.UDPSocket, n int) (got []string) {
	h.Helper()
	b := make([]byte, 64<<10)
	h.pollUntil("the datagrams sent", func() bool {
		for len(got) < n {
			k, err := u.Read(b)
			if err != nil {
				break
			}
			got = append(got, string(b[:k]))
		}
		return len(got) == n
	})
	return got
}

func (p *packetSocket) sendPackets(s driver.PacketSender, ms []sock.Message) (n int, err error) {
	p.h.call("SendPackets", func() { n, err = s.SendPackets(&p.PacketSocket, ms) })
	return n, err
}

func sendPackets(h *harness) {
	s := h.sender()
	p, u := h.packetSocket().bind(), h.udp(sock.ReadBuffer(1<<20))
	sizes := []int{3, 0, 1472, 2048, 2049, 30_000, 60_000, 1}
	for range 3 {
		ms := make([]sock.Message, len(sizes))
		for i, size := range sizes {
			ms[i] = sock.Message{Data: bytes.Clone(text[:size]), Addr: u.LocalAddr()}
		}
		n, err := p.sendPackets(s, ms)
		if n != len(ms) || err != nil {
			h.Fatalf("SendPackets took %d datagrams of %d: %v", n, len(ms), err)
		}
		for i := range ms { // their memory may be reused immediately
			clear(ms[i].Data)
		}
		for i, got := range h.read(u, len(sizes)) {
			if got != string(text[:sizes[i]]) {
				h.Errorf("datagram %d has %d bytes, want %d, or its bytes differ", i, len(got), sizes[i])
			}
		}
	}
	// To the peer of a connected socket, in order.
	h.must(p.Connect(u.LocalAddr()))
	n, err := p.sendPackets(s, []sock.Message{{Data: []byte("a")}, {Data: []byte("b")}, {Data: []byte("c")}})
	if n != 3 || err != nil {
		h.Fatalf("SendPackets to the peer took %d datagrams of 3: %v", n, err)
	}
	if got := h.read(u, 3); got[0]+got[1]+got[2] != "abc" {
		h.Errorf("the peer received %q", got)
	}
	h.expectQuiet("everything was sent")
	if len(p.failures) > 0 {
		h.Error(p.failures)
	}
}

// sendQueueFull sends more than the driver can queue: SendPackets refuses the rest, and takes it after
// Writable. All of it arrives.
func sendQueueFull(h *harness) {
	s := h.sender()
	p, u := h.packetSocket().bind(), h.udp(sock.ReadBuffer(4<<20))
	const total = 5000
	sent, refused := 0, 0
	more := func() {
		for sent < total {
			n, err := p.sendPackets(s, []sock.Message{{Data: text[sent : sent+8], Addr: u.LocalAddr()}})
			sent += n
			if err != nil {
				if err != sock.ErrWouldBlock {
					h.Fatal(err)
				}
				refused++
				return
			}
		}
	}
	p.onWritable = more
	more()
	got := 0
	b := make([]byte, 16)
	h.pollUntil("all datagrams sent", func() bool {
		for {
			n, err := u.Read(b)
			if err != nil {
				return got == total
			}
			if !bytes.Equal(b[:n], text[got:got+8]) {
				h.Fatalf("datagram %d differs from the one sent", got)
			}
			got++
		}
	})
	if refused == 0 || p.writables != refused {
		h.Errorf("SendPackets refused %d times, but Writable came %d times", refused, p.writables)
	}
	h.expectQuiet("everything was sent")
}

func sendInvalid(h *harness) {
	s := h.sender()
	p, u := h.packetSocket().bind(), h.udp()
	good := sock.Message{Data: []byte("good"), Addr: u.LocalAddr()}
	for what, bad := range map[string]sock.Message{
		"longer than a datagram":       {Data: text[:66_000], Addr: u.LocalAddr()},
		"an address of another family": {Data: []byte("x"), Addr: netip.MustParseAddrPort("[2001:db8::1]:9")},
	} {
		n, err := p.sendPackets(s, []sock.Message{good, bad, good})
		if n != 1 || err == nil || errors.Is(err, sock.ErrWouldBlock) {
			h.Errorf("%s: SendPackets took %d datagrams, %v; want 1 and an error", what, n, err)
		}
		h.read(u, 1)
	}
	// Errors that only the kernel detects are reported later, if the datagram was queued.
	for _, m := range []sock.Message{good, {Data: []byte("x"), Addr: netip.MustParseAddrPort("255.255.255.255:9")}, good} {
		if n, err := p.sendPackets(s, []sock.Message{m}); n != 1 || err != nil {
			h.Errorf("SendPackets took %d datagrams of 1, %v", n, err)
		}
	}
	h.until("SendFailed", func() bool { return len(p.failures) == 1 })
	if !errors.Is(p.failures[0], syscall.EACCES) || p.failedBytes != 1 {
		h.Errorf("SendFailed for a broadcast of one byte without permission: %d bytes, %v; want EACCES", p.failedBytes, p.failures[0])
	}
	h.read(u, 2)
}

func sendThenUnbind(h *harness) {
	s := h.sender()
	for range 3 {
		p, to := h.blockableSocket()
		p.fillSendBuffer(to)
		for range 2 {
			n, err := p.sendPackets(s, []sock.Message{{Data: text[:1000], Addr: to}})
			if n != 1 || err != nil {
				h.Fatalf("SendPackets took %d datagrams of 1, %v", n, err)
			}
			h.turn(0)
		}
		p.unbind()
		h.expectQuiet("the socket was unbound")
	}
}

// sendFromElsewhere: another goroutine may call SendPackets while the loop's goroutine waits for it
// inside an upcall.
func sendFromElsewhere(h *harness) {
	s := h.sender()
	p, u := h.packetSocket().bind(), h.udp(sock.ReadBuffer(1<<20))
	p.onPackets = func(ms []sock.Message) {
		var wg sync.WaitGroup
		wg.Go(func() {
			for i := range 200 { // more than fit in the submission queue
				if n, err := s.SendPackets(&p.PacketSocket, []sock.Message{{Data: text[i : i+5], Addr: u.LocalAddr()}}); n != 1 || err != nil {
					h.Errorf("datagram %d: SendPackets took %d, %v", i, n, err)
				}
			}
		})
		wg.Wait()
	}
	p.sendFrom(u, "go")
	for i, got := range h.read(u, 200) {
		if got != string(text[i:i+5]) {
			h.Fatalf("datagram %d differs from the one sent", i)
		}
	}
}

// numbered returns a datagram of the given size; it begins with its number, if that fits.
func numbered(i, size int) []byte {
	b := bytes.Clone(text[:size])
	if size >= 4 {
		binary.BigEndian.PutUint32(b, uint32(i))
	}
	return b
}

// expect reads datagrams of these sizes from numbered, in order.
func (h *harness) expect(u *sock.UDPSocket, sizes []int) {
	h.Helper()
	for i, got := range h.read(u, len(sizes)) {
		if got != string(numbered(i, sizes[i])) {
			h.Fatalf("datagram %d has %d bytes, want %d, or its bytes differ", i, len(got), sizes[i])
		}
	}
}

// orders are sequences of sizes, for which the driver may use different ways to send, and how many
// datagrams one call sends.
var orders = []struct {
	sizes []int
	batch int
}{
	{[]int{10, 3000, 10, 3000}, 1},
	{[]int{10, 3000, 10, 3000, 60_000, 10}, 2},
	{[]int{3000, 10, 3000, 10, 10, 10, 2048, 2049, 0, 65_000, 4}, 3},
	{[]int{10, 3000, 10, 3000, 30_000, 0, 10, 3000, 65_507, 10}, 100},
}

// sendInOrder: datagrams leave in the order of the calls, even if the turn that sent the first of
// them is not over.
func sendInOrder(h *harness) {
	s := h.sender()
	for _, inside := range []bool{false, true} {
		for _, o := range orders {
			p, u, other := h.packetSocket().bind(), h.udp(sock.ReadBuffer(1<<20)), h.udp()
			at := 0
			send := func(most int) {
				for most > 0 && at < len(o.sizes) {
					var ms []sock.Message
					for i := at; i < len(o.sizes) && len(ms) < o.batch; i++ {
						ms = append(ms, sock.Message{Data: numbered(i, o.sizes[i]), Addr: u.LocalAddr()})
					}
					n, err := p.sendPackets(s, ms)
					if n != len(ms) || err != nil {
						h.Fatalf("SendPackets took %d datagrams of %d: %v", n, len(ms), err)
					}
					at += n
					most--
				}
			}
			if inside { // one call for each received datagram; some come with the completion of a send
				p.onPackets = func(ms []sock.Message) { send(len(ms)) }
				for range o.sizes {
					p.sendFrom(other, "go")
					p.sendFrom(other, "go")
					h.turn(0)
				}
			} else {
				send(len(o.sizes))
			}
			h.expect(u, o.sizes)
			if inside {
				h.until("what caused them", func() bool { return len(p.got) == 2*len(o.sizes) })
			}
			h.expectQuiet("everything was sent")
			p.unbind()
		}
	}
}

// queueInOrder: what another goroutine sends goes behind what an upcall has sent.
func queueInOrder(h *harness) {
	s := h.sender()
	p, u := h.packetSocket().bind(), h.udp(sock.ReadBuffer(1<<20))
	queue := func(i, size int) (ok bool) {
		m := []sock.Message{{Data: numbered(i, size), Addr: u.LocalAddr()}}
		done := make(chan bool)
		go func() {
			defer close(done)
			if !p.Queued.Load() {
				return
			}
			var n int
			var err error
			if n, err, ok = s.QueuePackets(&p.PacketSocket, m); ok && (n != 1 || err != nil) {
				h.Errorf("QueuePackets took %d datagrams of 1, %v", n, err)
			}
			clear(m[0].Data)
		}()
		<-done
		return ok
	}
	if queue(0, 10) {
		h.Fatal("QueuePackets took a datagram though nothing was queued")
	}
	var sizes []int
	for i := range 20 {
		size := []int{10, 3000, 2048, 60_000}[i%4]
		sizes = append(sizes, size)
		if i%5 > 0 && queue(i, size) {
			continue
		}
		n, err := p.sendPackets(s, []sock.Message{{Data: numbered(i, size), Addr: u.LocalAddr()}})
		if n != 1 || err != nil {
			h.Fatalf("SendPackets took %d datagrams of 1, %v", n, err)
		}
	}
	h.expect(u, sizes)
	h.untilQuiet()
	if p.Queued.Load() || queue(0, 10) {
		h.Error("everything was sent, but Queued or QueuePackets says that datagrams are unsent")
	}
}

// orderWhileBlocked: while a datagram would block, all later ones wait too. Once the socket is
// writable, all leave in order, including those sent meanwhile. The number of waiting datagrams is
// bounded.
func orderWhileBlocked(h *harness) {
	s := h.sender()
	p, to := h.blockableSocket()
	p.fillSendBuffer(to)
	u := h.udp(sock.ReadBuffer(4 << 20))
	here := netip.AddrPortFrom(loopback.Addr(), u.LocalAddr().Port())
	sent, refused, got := 0, 0, 0
	size := func(i int) int { return []int{10, 3000, 100}[i%3] }
	read := func() {
		b := make([]byte, 4000)
		for {
			n, err := u.Read(b)
			if err != nil {
				return
			}
			if !bytes.Equal(b[:n], numbered(got, size(got))) {
				h.Fatalf("datagram %d has %d bytes, want %d, or its bytes differ", got, n, size(got))
			}
			got++
		}
	}
	const after = 300 // received datagrams that end the loop; none comes while the socket is blocked
	for end := time.Now().Add(deadline); got < after; {
		if time.Now().After(end) {
			h.Fatalf("received %d datagrams of %d", got, sent)
		}
		n, err := p.sendPackets(s, []sock.Message{{Data: numbered(sent, size(sent)), Addr: here}})
		sent += n
		switch {
		case err == sock.ErrWouldBlock && n == 0 && sent-got > 100:
			refused++
		case err != nil || n != 1 || sent-got > 1000:
			h.Fatalf("datagram %d: SendPackets took %d, %v; %d were received", sent, n, err, got)
		}
		h.turn(0)
		read()
	}
	h.pollUntil("all datagrams sent", func() bool { read(); return got == sent })
	if refused == 0 || p.writables == 0 {
		h.Errorf("SendPackets refused %d times, Writable came %d times", refused, p.writables)
	}
	h.expectQuiet("everything was sent")
}

// sendThenUnbindSends: datagrams taken in an upcall that unbinds the socket are sent.
func sendThenUnbindSends(h *harness) {
	s := h.sender()
	for _, n := range []int{1, 3} {
		p, u, other := h.packetSocket().bind(), h.udp(sock.ReadBuffer(1<<20)), h.udp()
		var sizes []int
		p.onPackets = func([]sock.Message) {
			for i := range n {
				sizes = append(sizes, 10+i)
				if n, err := p.sendPackets(s, []sock.Message{{Data: numbered(i, 10+i), Addr: u.LocalAddr()}}); n != 1 || err != nil {
					h.Errorf("SendPackets took %d datagrams of 1, %v", n, err)
				}
			}
			p.unbind()
		}
		p.sendFrom(other, "go")
		h.until("the upcall", func() bool { return len(sizes) == n })
		h.expect(u, sizes)
	}
}

// sendThenCloseSends: datagrams taken in an upcall are sent even if the socket is closed before the turn
// that sends them. Any goroutine may close it.
func sendThenCloseSends(h *harness) {
	s := h.sender()
	const each = 20
	for range 5 {
		p, u, other := h.packetSocket().bind(), h.udp(sock.ReadBuffer(1<<20)), h.udp()
		var sizes []int
		p.onPackets = func([]sock.Message) {
			for i := range each {
				sizes = append(sizes, 10+i)
				if n, err := p.sendPackets(s, []sock.Message{{Data: numbered(i, 10+i), Addr: u.LocalAddr()}}); n != 1 || err != nil {
					h.Errorf("SendPackets took %d datagrams of 1, %v", n, err)
				}
			}
			p.Close()
		}
		p.sendFrom(other, "go")
		h.until("the upcall", func() bool { return len(sizes) == each })
		h.turn(0) // sends some of them
		p.unbind()
		h.expect(u, sizes)
		if len(p.failures) > 0 {
			h.Errorf("SendFailed after Close: %v", p.failures)
		}
	}
}

// queueAgainstUnbind: another goroutine sends while sockets are bound and unbound.
func queueAgainstUnbind(h *harness) {
	s := h.sender()
	u := h.udp(sock.ReadBuffer(1 << 20))
	for range 50 {
		p := h.packetSocket().bind()
		stop, done := make(chan bool), make(chan bool)
		go func() {
			defer close(done)
			for {
				select {
				case <-stop:
					return
				default:
					s.QueuePackets(&p.PacketSocket, []sock.Message{{Data: text[:10], Addr: u.LocalAddr()}})
				}
			}
		}()
		for range 5 {
			p.sendPackets(s, []sock.Message{{Data: text[:10], Addr: u.LocalAddr()}})
			h.turn(0)
		}
		p.unbind()
		h.until("Released", func() bool { return p.released })
		close(stop)
		<-done
	}
}

// echoSocket is a socket's upcalls that echo and do not allocate.
type echoSocket struct {
	p      *packetSocket
	sender driver.PacketSender
	out    [driver.MaxPackets]sock.Message
	got    int
	err    error
}

func (a *echoSocket) Packets(ms []sock.Message) {
	for i := range ms {
		a.out[i] = sock.Message{Data: ms[i].Data[:ms[i].N], Addr: ms[i].Addr}
	}
	a.got += len(ms)
	if a.sender != nil {
		_, a.err = a.sender.SendPackets(&a.p.PacketSocket, a.out[:len(ms)])
		return
	}
	_, a.err = a.p.WriteBatch(a.out[:len(ms)])
}

func (a *echoSocket) Writable()                   {}
func (a *echoSocket) Released()                   {}
func (a *echoSocket) SendFailed(_ int, err error) { a.err = err }

func packetAllocs(h *harness) {
	h.needsSystem("the methods of package sock allocate there")
	p, u := h.packetSocket(), h.udp()
	a := &echoSocket{p: p}
	a.sender, _ = h.drv.(driver.PacketSender)
	p.Up = a
	p.bind()
	b := make([]byte, 100)
	to := p.LocalAddr()
	h.allocations(300, func() {
		for range 3 {
			u.WriteTo(text[:50], to)
		}
		answers := 0
		for end := time.Now().Add(deadline); answers < 3 && time.Now().Before(end); {
			h.drv.Turn(time.Millisecond)
			for {
				if _, _, err := u.ReadFrom(b); err != nil {
					break
				}
				answers++
			}
		}
	})
	if a.got == 0 || a.err != nil {
		h.Errorf("%d datagrams were answered: %v", a.got, a.err)
	}
}
