package conformance

import (
	"bytes"
	"errors"
	"net"
	"net/netip"
	"os"
	"sync"
	"syscall"
	"time"

	"github.com/pollux-io/pollux/internal/driver"
	"github.com/pollux-io/pollux/sock"
)

var packetTests = []test{
	{"datagrams and their senders", usual, datagrams},
	{"what came before Bind", usual, beforeBind},
	{"many at once", usual, manyAtOnce},
	{"many sockets", usual, manySockets},
	{"one that floods leaves the others their turn", usual, flood},
	{"nothing after Unbind", usual, nothingAfterUnbind},
	{"Unbind from inside Packets", usual, unbindInside},
	{"Unbind of one that Bind refused", usual, unbindRefused},
	{"Unbind closes the socket", usual, unbindCloses},
	{"an error about what was sent", usual, aboutSent},
	{"AwaitWritable", usual, awaitWritable},
	{"AwaitWritable, then Unbind", usual, awaitThenUnbind},
	{"SendPackets", usual, sendPackets},
	{"SendPackets without room", usual, sendWithoutRoom},
	{"SendPackets of what cannot be sent", usual, sendImpossible},
	{"SendPackets, then Unbind", usual, sendThenUnbind},
	{"SendPackets from elsewhere, inside an upcall", usual, sendFromElsewhere},
	{"allocations", usual, packetAllocs},
}

// packetSocket is a socket of datagrams, what it has been told, and what it may be told.
type packetSocket struct {
	driver.PacketSocket
	h           *harness
	onPackets   func(ms []sock.Message)
	onRoom      func()
	got         []string // datagrams
	from        []netip.AddrPort
	truncated   int
	batches     int
	rooms       int
	failures    []error
	failedBytes int
	bound       bool
	released    bool
}

func (h *harness) udp(options ...sock.Option) *sock.UDPSocket {
	h.Helper()
	u, err := sock.ListenUDP(loopback, options...)
	h.must(err)
	h.others = append(h.others, u)
	return u
}

// packetSocket makes a socket that is not bound to the driver yet.
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

func (u *packetUpcalls) up(what string, f func(p *packetSocket)) {
	p := (*packetSocket)(u)
	p.h.up(what, func() {
		if !p.bound {
			p.h.Errorf("%s of a socket that is not bound", what)
		}
		f(p)
	})
}

func (u *packetUpcalls) Packets(ms []sock.Message) {
	u.up("Packets", func(p *packetSocket) {
		if len(ms) == 0 || len(ms) > driver.MaxPackets {
			p.h.Errorf("%d datagrams at once", len(ms))
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
		// The handler may do with the messages as it likes.
		for i := range ms {
			clear(ms[i].Data)
			ms[i] = sock.Message{}
		}
	})
}

// Released may come from inside Unbind, or from Turn; from no other method.
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
	u.up("Writable", func(p *packetSocket) {
		p.rooms++
		if p.onRoom != nil {
			p.onRoom()
		}
	})
}

func (u *packetUpcalls) SendFailed(n int, err error) {
	u.up("SendFailed", func(p *packetSocket) {
		p.failures = append(p.failures, err)
		p.failedBytes += n
	})
}

// mail sends a datagram to the socket.
func (p *packetSocket) mail(from *sock.UDPSocket, data string) {
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
			p.mail(u, data)
			if i%2 == 0 {
				h.until("a datagram", func() bool { return len(p.got) == i+1 })
			}
		}
		h.until("all of them", func() bool { return len(p.got) == len(sent) })
		h.quiet("nothing more was sent")
		for i, data := range sent {
			if p.got[i] != data {
				h.Errorf("datagram %d: %d bytes, want %d, or others", i, len(p.got[i]), len(data))
			}
			if p.from[i] != u.LocalAddr() {
				h.Errorf("datagram %d is said to be from %v, not from %v", i, p.from[i], u.LocalAddr())
			}
		}
	}
	if p.truncated > 0 {
		h.Errorf("%d are said to be truncated", p.truncated)
	}
}

func beforeBind(h *harness) {
	p, u := h.packetSocket(), h.udp()
	p.mail(u, "early")
	p.mail(u, "bird")
	p.bind()
	h.until("both", func() bool { return len(p.got) == 2 })
	h.quiet("nothing more was sent")
}

// manyAtOnce are more than a batch, or two, takes, again and again.
func manyAtOnce(h *harness) {
	p, u := h.packetSocket(sock.RecvBuffer(1<<20)).bind(), h.udp()
	for round := range 5 {
		p.got = nil
		for i := range 200 {
			p.mail(u, string(text[i:2*i]))
		}
		h.until("all of them", func() bool { return len(p.got) == 200 })
		for i, got := range p.got {
			if got != string(text[i:2*i]) {
				h.Fatalf("round %d: datagram %d has %d bytes, want %d, or others", round, i, len(got), i)
			}
		}
		h.quiet("nothing more was sent")
	}
}

// manySockets each get what is theirs, and answer.
func manySockets(h *harness) {
	u := h.udp(sock.RecvBuffer(1 << 20))
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
			p.mail(u, string(rune('A'+round))+string(text[i:i+9]))
		}
		h.until("each socket's", func() bool {
			for _, p := range sockets {
				if len(p.got) <= round {
					return false
				}
			}
			return true
		})
		for i, p := range sockets {
			if want := string(rune('A'+round)) + string(text[i:i+9]); p.got[round] != want {
				h.Fatalf("socket %d got %q, want %q", i, p.got[round], want)
			}
		}
		answers := 0
		h.spin("the answers", func() bool {
			for {
				if _, _, err := u.ReadFrom(b); err != nil {
					return answers == len(sockets)
				}
				answers++
			}
		})
	}
}

// flood sends to one socket from inside its own upcall, so that it never runs dry.
func flood(h *harness) {
	a, b, u := h.packetSocket(sock.RecvBuffer(1<<20)).bind(), h.packetSocket().bind(), h.udp()
	stop := false
	refill := func(n int) {
		for range n {
			a.mail(u, "x")
		}
	}
	a.onPackets = func(ms []sock.Message) {
		if !stop {
			refill(len(ms))
		}
	}
	refill(100)
	h.until("the first", func() bool { return len(a.got) > 0 })
	b.mail(u, "me too")
	for turns := 0; len(b.got) == 0; turns++ {
		if turns > 3 {
			h.Fatalf("one socket has had %d turns, and %d datagrams, and the other none", turns, len(a.got))
		}
		h.turn(forever)
	}
	stop = true
	h.calm()
}

func nothingAfterUnbind(h *harness) {
	for range 10 {
		p, u := h.packetSocket().bind(), h.udp()
		p.mail(u, "first")
		h.until("the first", func() bool { return len(p.got) == 1 })
		p.mail(u, "second")
		p.unbind()
		h.quiet("it is bound no more")
	}
}

// unbindInside: of those with news in one batch, the first to be told ends all the
// others, another time itself, and one without news takes their place.
func unbindInside(h *harness) {
	for round := range 20 {
		u := h.udp()
		sockets := make([]*packetSocket, 5)
		var next *packetSocket
		told := 0
		for i := range sockets {
			p := h.packetSocket().bind()
			p.onPackets = func([]sock.Message) {
				if told++; told > 1 {
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
		h.calm()
		for _, p := range sockets {
			p.mail(u, "strike")
			p.mail(u, "strike again")
		}
		h.until("the first", func() bool { return told > 0 })
		h.calm()
		if len(next.got) > 0 {
			h.Error("a socket that was sent nothing got another's datagram")
		}
		next.mail(u, "mine")
		h.until("its own", func() bool { return len(next.got) == 1 })
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
			h.Error("a closed socket can be bound")
		}
	})
	h.call("Unbind", func() { h.drv.Unbind(&p.PacketSocket) })
	h.until("Released", func() bool { return p.released })
	other := h.packetSocket().bind()
	other.mail(h.udp(), "x")
	h.until("another's datagram", func() bool { return len(other.got) == 1 })
}

func unbindCloses(h *harness) {
	p := h.packetSocket().bind()
	at := p.LocalAddr()
	p.mail(h.udp(), "x")
	h.until("a datagram", func() bool { return len(p.got) == 1 })
	p.unbind()
	h.until("Released", func() bool { return p.released })
	if _, err := p.Write(nil); !errors.Is(err, net.ErrClosed) {
		h.Errorf("writing to a socket that was unbound: %v", err)
	}
	h.meanwhile("the address is free again", func() bool {
		u, err := sock.ListenUDP(at)
		if err == nil {
			u.Close()
		}
		return err == nil
	})
}

// aboutSent: the refusal of what a connected socket has sent does not end receiving.
func aboutSent(h *harness) {
	if onWine() {
		h.Skip("Wine tells nothing more of a socket whose datagram was refused once")
	}
	u := h.udp()
	at := u.LocalAddr()
	p := h.packetSocket().bind()
	h.must(p.Connect(at))
	h.must(u.Close())
	for range 3 {
		p.Write([]byte("anybody there?"))
		h.turn(time.Millisecond)
	}
	u, err := sock.ListenUDP(at)
	h.must(err)
	h.others = append(h.others, u)
	p.mail(u, "now there is")
	h.until("a datagram after a refusal", func() bool { return len(p.got) == 1 })
}

// silentEnv names the address of a host that is on a network of this machine's own and
// does not answer: what is sent there stays in the socket's buffer until the kernel has
// given up looking for it (arp(7)), a few seconds later. On loopback no buffer ever fills.
const silentEnv = "POLLUX_TEST_SILENT"

// clogged makes a socket that sends may block on, and the address to send to for that.
func (h *harness) clogged() (*packetSocket, netip.AddrPort) {
	h.Helper()
	silent, err := netip.ParseAddr(os.Getenv(silentEnv))
	if err != nil {
		h.Skip("no send of a datagram blocks on loopback; set " + silentEnv + " to an address on a network of this machine that does not answer")
	}
	p := &packetSocket{h: h}
	u, err := sock.ListenUDP(netip.AddrPortFrom(netip.IPv4Unspecified(), 0), sock.SendBuffer(16<<10))
	h.must(err)
	h.others = append(h.others, u)
	p.UDPSocket, p.Up = u, (*packetUpcalls)(p)
	h.packets = append(h.packets, p)
	return p.bind(), netip.AddrPortFrom(silent, 9)
}

// clog fills the socket's buffer.
func (p *packetSocket) clog(to netip.AddrPort) {
	p.h.Helper()
	for range 1000 {
		if _, err := p.WriteTo(text[:1000], to); err != nil {
			if err != sock.ErrWouldBlock {
				p.h.Fatal(err)
			}
			return
		}
	}
	p.h.Fatalf("a thousand datagrams to %v, and no send would block", to)
}

func (p *packetSocket) await() {
	p.h.call("AwaitWritable", func() { p.h.drv.AwaitWritable(&p.PacketSocket) })
}

func awaitWritable(h *harness) {
	p, to := h.clogged()
	u := h.udp()
	h.quiet("nobody waits for room")
	for i := range 2 {
		p.clog(to)
		h.quiet("nobody waits for room")
		p.await()
		p.await()
		h.quiet("there is no room")
		_, err := u.WriteTo([]byte("meanwhile"), netip.AddrPortFrom(loopback.Addr(), p.LocalAddr().Port()))
		h.must(err)
		h.until("a datagram", func() bool { return len(p.got) == i+1 })
		h.until("Writable", func() bool { return p.rooms == i+1 })
		h.quiet("Writable was told")
	}
}

func awaitThenUnbind(h *harness) {
	p, to := h.clogged()
	p.clog(to)
	p.await()
	h.quiet("there is no room")
	p.unbind()
	h.quiet("it is bound no more")
}

// sender returns the driver as one that sends, or skips.
func (h *harness) sender() driver.PacketSender {
	s, ok := h.drv.(driver.PacketSender)
	if !ok {
		h.Skip("this driver leaves sending to the sockets themselves")
	}
	return s
}

// read takes n datagrams off a socket, while the driver turns.
func (h *harness) read(u *sock.UDPSocket, n int) (got []string) {
	h.Helper()
	b := make([]byte, 64<<10)
	h.meanwhile("datagrams that were sent", func() bool {
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
	p, u := h.packetSocket().bind(), h.udp(sock.RecvBuffer(1<<20))
	sizes := []int{3, 0, 1472, 2048, 2049, 30_000, 60_000, 1}
	for range 3 {
		ms := make([]sock.Message, len(sizes))
		for i, size := range sizes {
			ms[i] = sock.Message{Data: bytes.Clone(text[:size]), Addr: u.LocalAddr()}
		}
		n, err := p.sendPackets(s, ms)
		if n != len(ms) || err != nil {
			h.Fatalf("%d of %d, %v", n, len(ms), err)
		}
		for i := range ms { // their memory is free at once
			clear(ms[i].Data)
		}
		bySize := map[int]string{}
		for _, got := range h.read(u, len(sizes)) {
			bySize[len(got)] = got
		}
		for _, size := range sizes {
			if bySize[size] != string(text[:size]) {
				h.Errorf("the datagram of %d bytes did not come, or as another", size)
			}
		}
	}
	// To the peer of a connected socket, in order.
	h.must(p.Connect(u.LocalAddr()))
	n, err := p.sendPackets(s, []sock.Message{{Data: []byte("a")}, {Data: []byte("b")}, {Data: []byte("c")}})
	if n != 3 || err != nil {
		h.Fatalf("to the peer: %d, %v", n, err)
	}
	if got := h.read(u, 3); got[0]+got[1]+got[2] != "abc" {
		h.Errorf("to the peer: %q", got)
	}
	h.quiet("everything was sent")
	if len(p.failures) > 0 {
		h.Error(p.failures)
	}
}

// sendWithoutRoom sends more than the driver holds: the rest is refused, and taken after
// Writable. All of it arrives.
func sendWithoutRoom(h *harness) {
	s := h.sender()
	p, u := h.packetSocket().bind(), h.udp(sock.RecvBuffer(4<<20))
	const total = 5000
	sent, refused := 0, 0
	more := func() {
		for sent < total {
			k := min(100, total-sent)
			ms := make([]sock.Message, k)
			for i := range ms {
				ms[i] = sock.Message{Data: text[sent+i : sent+i+8], Addr: u.LocalAddr()}
			}
			n, err := p.sendPackets(s, ms)
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
	p.onRoom = more
	more()
	got := 0
	b := make([]byte, 16)
	h.meanwhile("all that was sent", func() bool {
		for {
			n, err := u.Read(b)
			if err != nil {
				return got == total
			}
			if !bytes.Equal(b[:n], text[got:got+8]) {
				h.Fatalf("datagram %d is another", got)
			}
			got++
		}
	})
	if refused == 0 || p.rooms != refused {
		h.Errorf("refused %d times, Writable %d times", refused, p.rooms)
	}
	h.quiet("everything was sent")
}

func sendImpossible(h *harness) {
	s := h.sender()
	p, u := h.packetSocket().bind(), h.udp()
	good := sock.Message{Data: []byte("good"), Addr: u.LocalAddr()}
	for what, bad := range map[string]sock.Message{
		"longer than a datagram":       {Data: text[:66_000], Addr: u.LocalAddr()},
		"an address of another family": {Data: []byte("x"), Addr: netip.MustParseAddrPort("[2001:db8::1]:9")},
	} {
		n, err := p.sendPackets(s, []sock.Message{good, bad, good})
		if n != 1 || err == nil || errors.Is(err, sock.ErrWouldBlock) {
			h.Errorf("%s: %d, %v", what, n, err)
		}
		h.read(u, 1)
	}
	// What only the kernel knows is told later.
	n, err := p.sendPackets(s, []sock.Message{good, {Data: []byte("x"), Addr: netip.MustParseAddrPort("255.255.255.255:9")}, good})
	if n != 3 || err != nil {
		h.Errorf("a broadcast that was not asked for: %d, %v", n, err)
	}
	h.until("SendFailed", func() bool { return len(p.failures) == 1 })
	if !errors.Is(p.failures[0], syscall.EACCES) || p.failedBytes != 1 {
		h.Errorf("a broadcast of one byte that was not asked for: %d bytes, %v", p.failedBytes, p.failures[0])
	}
	h.read(u, 2)
}

func sendThenUnbind(h *harness) {
	s := h.sender()
	for range 3 {
		p, to := h.clogged()
		p.clog(to)
		n, err := p.sendPackets(s, []sock.Message{{Data: text[:1000], Addr: to}, {Data: text[:1000], Addr: to}})
		if n != 2 || err != nil {
			h.Fatalf("%d, %v", n, err)
		}
		h.turn(0)
		p.unbind()
		h.quiet("it is bound no more")
	}
}

// sendFromElsewhere: another goroutine may use the driver while the loop's waits for it
// inside an upcall.
func sendFromElsewhere(h *harness) {
	s := h.sender()
	p, u := h.packetSocket().bind(), h.udp(sock.RecvBuffer(1<<20))
	p.onPackets = func(ms []sock.Message) {
		var wg sync.WaitGroup
		wg.Go(func() {
			for i := range 200 { // more than the submission queue holds
				if n, err := s.SendPackets(&p.PacketSocket, []sock.Message{{Data: text[i : i+5], Addr: u.LocalAddr()}}); n != 1 || err != nil {
					h.Errorf("datagram %d: %d, %v", i, n, err)
				}
			}
		})
		wg.Wait()
	}
	p.mail(u, "go")
	for i, got := range h.read(u, 200) {
		if got != string(text[i:i+5]) {
			h.Fatalf("datagram %d is another", i)
		}
	}
}

// answering is a socket that echoes and allocates nothing itself.
type answering struct {
	p      *packetSocket
	sender driver.PacketSender
	out    [driver.MaxPackets]sock.Message
	got    int
	err    error
}

func (a *answering) Packets(ms []sock.Message) {
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

func (a *answering) Writable()                   {}
func (a *answering) Released()                   {}
func (a *answering) SendFailed(_ int, err error) { a.err = err }

func packetAllocs(h *harness) {
	p, u := h.packetSocket(), h.udp()
	a := &answering{p: p}
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
