package main

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"syscall"
	"time"

	"github.com/pollux-io/pollux"
	"github.com/pollux-io/pollux/bench/internal/proc"
	"github.com/pollux-io/pollux/sock"
)

// rig is a proxy process with both ends of its connections.
type rig struct {
	name   string
	cmd    *exec.Cmd
	at     netip.AddrPort // the proxy's address
	ln     *sock.TCPListener
	q      *pollux.Poll
	pairs  []*pair
	events []pollux.Event
	buf    []byte
}

// pair is a client and the server to which the proxy has connected it.
type pair struct {
	client, server *sock.TCPStream
	sent, received int // bytes of the bulk load
	partial        int // bytes of the next ping that the server, or the client, has got
}

// maxTransfer is the maximum number of bytes of one call.
const maxTransfer = 256 << 10

var (
	localhost = netip.MustParseAddr("127.0.0.1")
	nextPort  = 21_000 + os.Getpid()%5_000
	rigs      = map[*rig]bool{}
)

func stopAll() {
	for r := range rigs {
		r.close()
	}
}

// newRig starts a proxy and opens connections through it.
func newRig(name string, conns int) *rig {
	q, err := pollux.New()
	check(err)
	ln, err := sock.ListenTCP(netip.AddrPortFrom(localhost, 0))
	check(err)
	r := &rig{name: name, q: q, ln: ln, events: make([]pollux.Event, 256), buf: make([]byte, maxTransfer)}
	nextPort++
	r.at = netip.AddrPortFrom(localhost, uint16(nextPort))
	words := command(name, r.at.String(), ln.Addr().String())
	r.cmd = exec.Command(words[0], words[1:]...)
	r.cmd.Stderr = os.Stderr
	if r.cmd.Env = os.Environ(); *cpu >= 0 {
		r.cmd.Env = append(r.cmd.Env, "GOMAXPROCS=1")
	}
	check(r.cmd.Start())
	rigs[r] = true
	r.await()
	r.connect(conns)
	return r
}

// await waits until the proxy accepts connections, and accepts the one that this makes.
func (r *rig) await() {
	for end := time.Now().Add(patient); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		if c, err := net.Dial("tcp", r.at.String()); err == nil {
			r.accept().Close()
			c.Close()
			return
		}
	}
	fatal("%v does not answer within %v", r.cmd, patient)
}

// accept returns the connection that the proxy makes.
func (r *rig) accept() *sock.TCPStream {
	for end := time.Now().Add(patient); ; time.Sleep(100 * time.Microsecond) {
		c, err := r.ln.Accept()
		if err == nil {
			return c
		}
		if !errors.Is(err, sock.ErrWouldBlock) || time.Now().After(end) {
			fatal("%s does not connect: %v", r.name, err)
		}
	}
}

// connect opens n more pairs.
func (r *rig) connect(n int) {
	for range n {
		client, err := sock.ConnectTCP(r.at)
		check(err)
		p := &pair{client: client, server: r.accept()}
		for i, s := range []*sock.TCPStream{p.client, p.server} {
			check(r.q.Registrator().Register(s, pollux.Token(2*len(r.pairs)+i), pollux.Readable|pollux.Writable, pollux.Edge))
		}
		r.pairs = append(r.pairs, p)
	}
	r.pingOnce()
}

func (r *rig) close() {
	delete(rigs, r)
	for _, p := range r.pairs {
		p.client.Close()
		p.server.Close()
	}
	r.ln.Close()
	r.q.Close()
	r.cmd.Process.Signal(syscall.SIGTERM)
	kill := time.AfterFunc(time.Second, func() { r.cmd.Process.Kill() })
	r.cmd.Wait()
	kill.Stop()
}

func (r *rig) cpuNanos() int64 {
	n, err := proc.CPUNanos(r.cmd.Process.Pid)
	check(err)
	return n
}

func (r *rig) anonBytes() int64 {
	n, err := proc.AnonBytes(r.cmd.Process.Pid)
	check(err)
	return n
}

// wait calls f for the pairs with an event until done returns true.
func (r *rig) wait(end time.Time, done func() bool, f func(p *pair, server bool, ev pollux.Event)) {
	for !done() {
		n, err := r.q.Wait(r.events, 0)
		check(err)
		if n == 0 && time.Now().After(end.Add(patient)) {
			fatal("%s does not answer", r.name)
		}
		for _, ev := range r.events[:n] {
			f(r.pairs[ev.Token()/2], ev.Token()%2 == 1, ev)
		}
	}
}

// read returns how many bytes could be read, at most so many.
func (r *rig) read(s *sock.TCPStream, most int) int {
	n, err := s.Read(r.buf[:most])
	if err == sock.ErrWouldBlock {
		return 0
	}
	check(err)
	return n
}

func (r *rig) send(s *sock.TCPStream, n int) {
	if k, err := s.Write(r.buf[:n]); err != nil || k < n {
		fatal("a ping of %d bytes is sent in part, %d: %v", n, k, err)
	}
}

// ping has each client send a ping, which the server returns, again and again.
func (r *rig) ping() sample { return r.pingFor(*slice) }

func (r *rig) pingOnce() { r.pingFor(0) }

func (r *rig) pingFor(d time.Duration) sample {
	cpu0, began := r.cpuNanos(), time.Now()
	end := began.Add(d)
	messages, inFlight := 0, len(r.pairs)
	for _, p := range r.pairs {
		if p.client.ConnectError() != nil {
			continue // not connected yet: its first event sends
		}
		r.send(p.client, *size)
		p.sent = 1
	}
	r.wait(end, func() bool { return inFlight == 0 }, func(p *pair, server bool, ev pollux.Event) {
		if !server && p.sent == 0 && ev.Writable() {
			r.send(p.client, *size)
			p.sent = 1
		}
		if !ev.Readable() {
			return
		}
		s := p.client
		if server {
			s = p.server
		}
		for {
			n := r.read(s, *size-p.partial)
			if n == 0 {
				return
			}
			if p.partial += n; p.partial < *size {
				continue
			}
			p.partial = 0
			switch {
			case server:
				r.send(p.server, *size)
			case time.Now().Before(end):
				messages++
				r.send(p.client, *size)
			default:
				messages++
				inFlight--
				p.sent = 0
			}
			return
		}
	})
	took := time.Since(began)
	return sample{cpu: float64(r.cpuNanos()-cpu0) / float64(messages), rate: float64(messages) / took.Seconds()}
}

// bulk has each client send as much as it can, which the server drops.
func (r *rig) bulk() sample {
	cpu0, began := r.cpuNanos(), time.Now()
	end := began.Add(*slice)
	total, received := 0, 0
	for _, p := range r.pairs {
		p.sent, p.received = 0, 0
		total += r.fill(p)
	}
	sending := true
	r.wait(end, func() bool {
		sending = sending && time.Now().Before(end)
		return !sending && received == total
	}, func(p *pair, server bool, ev pollux.Event) {
		switch {
		case server && ev.Readable():
			for n := r.read(p.server, maxTransfer); n > 0; n = r.read(p.server, maxTransfer) {
				received += n
			}
		case !server && ev.Writable() && sending:
			total += r.fill(p)
		}
	})
	took := time.Since(began)
	for _, p := range r.pairs {
		p.sent = 0
	}
	return sample{cpu: float64(r.cpuNanos()-cpu0) / float64(received), rate: float64(received) / took.Seconds()}
}

// fill writes until that would block, within bounds, and returns the number of bytes.
func (r *rig) fill(p *pair) (total int) {
	for {
		n, err := p.client.Write(r.buf)
		total += n
		if err == sock.ErrWouldBlock {
			return total
		}
		check(err)
	}
}

func (r *rig) String() string { return fmt.Sprintf("%s at %v", r.name, r.at) }
