package fetch

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pollux-io/pollux/loop"
	"github.com/pollux-io/pollux/loop/looptest"
)

// attemptDelay is the default of dns.Dialer, and timerSlack how late a timer of a loop may be on a simulated
// network.
const (
	attemptDelay = 250 * time.Millisecond
	timerSlack   = 10 * time.Millisecond
)

// A simBench fetches on a simulated network, from a server with the name dual.test and an address of each
// family.
type simBench struct {
	*bench
	t         *testing.T
	net       *looptest.Network
	client    *looptest.Host
	six, four *looptest.Host

	mu        sync.Mutex
	connected []string // the addresses that have accepted
}

// onSimulation runs f in a bubble. The server answers with answer, which may be nil, and closes.
func onSimulation(t *testing.T, answer func(c net.Conn, r *http.Request), f func(b *simBench)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		n := looptest.New(t, looptest.Config{})
		b := &simBench{bench: newBenchInBubble(t), t: t, net: n}
		b.client = n.Host(netip.MustParseAddr("2001:db8::1"), netip.MustParseAddr("10.0.0.1"))
		b.six, b.four = n.Host(netip.MustParseAddr("2001:db8::2")), n.Host(netip.MustParseAddr("10.0.0.2"))
		b.Network = b.client
		b.hosts = hostsFile("dual.test", "2001:db8::2", "10.0.0.2")
		for _, h := range []*looptest.Host{b.six, b.four} {
			b.listen(h, ":80", func(c net.Conn) { b.serve(c, answer) })
		}
		f(b)
		synctest.Wait() // until the server has closed, too
		if open := b.client.Descriptors(); open != 0 {
			t.Errorf("%d descriptors of the client are open after the run", open)
		}
	})
}

// listen calls accepted for each connection to a port of h, in order, until the end of the bubble.
func (b *simBench) listen(h *looptest.Host, port string, accepted func(net.Conn)) {
	b.t.Helper()
	ln, err := h.Listen("tcp", port)
	if err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(func() { ln.Close() })
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			accepted(c)
		}
	}()
}

func (b *simBench) serve(c net.Conn, answer func(c net.Conn, r *http.Request)) {
	b.mu.Lock()
	b.connected = append(b.connected, c.LocalAddr().String())
	b.mu.Unlock()
	go func() {
		defer c.Close()
		if r, err := http.ReadRequest(bufio.NewReader(c)); err == nil && answer != nil {
			answer(c, r)
		}
	}()
}

// timed is run for one URL, and returns how long Run took.
func (b *simBench) timed(url string) (*Result, time.Duration) {
	b.t.Helper()
	began := time.Now()
	r := b.run(b.t, url)[0]
	return r, time.Since(began)
}

func hello(c net.Conn, _ *http.Request) {
	io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello")
}

// An address that does not answer delays by no more than the delay of an attempt, one that refuses not at all.
func TestDeadAddressDelaysByOneAttempt(t *testing.T) {
	for name, c := range map[string]struct {
		policy looptest.ConnectPolicy
		least  time.Duration
		from   string
	}{
		"alive":   {looptest.AcceptConnects, 0, "[2001:db8::2]:80"},
		"refuses": {looptest.RefuseConnects, 0, "10.0.0.2:80"},
		"is dead": {looptest.DropConnects, attemptDelay, "10.0.0.2:80"},
	} {
		t.Run(name, func(t *testing.T) {
			onSimulation(t, hello, func(b *simBench) {
				b.six.SetConnectPolicy(c.policy)
				r, took := b.timed("http://dual.test/")
				if r.Err != nil || string(b.memory.whole[0]) != "hello" || r.Tries != 1 {
					t.Fatalf("error %v, body %q, %d tries", r.Err, b.memory.whole[0], r.Tries)
				}
				if took < c.least || took > c.least+timerSlack || len(b.connected) != 1 || b.connected[0] != c.from {
					t.Errorf("took %v, want %v; connected to %q, want %s", took, c.least, b.connected, c.from)
				}
			})
		})
	}
}

// The time limit for connecting includes all addresses, which the error has.
func TestConnectTimeoutIncludesAllAddresses(t *testing.T) {
	onSimulation(t, hello, func(b *simBench) {
		b.Connect = time.Second
		b.six.SetConnectPolicy(looptest.DropConnects)
		b.four.SetConnectPolicy(looptest.DropConnects)
		r, took := b.timed("http://dual.test/")
		const want = "connect to dual.test: [2001:db8::2]:80: no answer in time, 10.0.0.2:80: no answer in time; raise --connect-timeout"
		if r.Err == nil || !strings.HasPrefix(r.Err.Error(), want) || took < b.Connect || took > b.Connect+timerSlack {
			t.Errorf("%v after %v, want %s", r.Err, took, want)
		}
	})
}

// The time limit for connecting includes the lookup, which is retried as a connection is.
func TestConnectTimeoutIncludesTheLookup(t *testing.T) {
	onSimulation(t, hello, func(b *simBench) {
		b.Connect, b.Retries = time.Second, 1
		b.servers = []netip.AddrPort{netip.MustParseAddrPort("10.0.0.3:53")}
		silent := b.net.Host(b.servers[0].Addr())
		pc, err := silent.ListenPacket("udp", ":53")
		if err != nil {
			t.Fatal(err)
		}
		defer pc.Close()
		r, took := b.timed("http://slow.test/")
		const want = "look up slow.test: no answer in time; check the network and its name servers"
		if r.Err == nil || r.Err.Error() != want || r.Tries != 2 || took < 2*b.Connect {
			t.Errorf("%v after %v and %d tries, want %s", r.Err, took, r.Tries, want)
		}
	})
}

// A run does not wait for a server that keeps its side open after a complete answer.
func TestRunEndsWithTheLastAnswer(t *testing.T) {
	var over chan struct{}
	onSimulation(t, func(c net.Conn, r *http.Request) {
		hello(c, r)
		<-over // it does not even read
	}, func(b *simBench) {
		over = make(chan struct{})
		defer close(over)
		r, took := b.timed("http://dual.test/")
		if r.Err != nil || took > timerSlack {
			t.Errorf("error %v, took %v", r.Err, took)
		}
	})
}

// After a complete answer the server gets the end of the stream, not a reset, even if it has sent more, or has
// closed its side.
func TestCompleteAnswerEndsWithoutReset(t *testing.T) {
	for name, answer := range map[string]string{
		"length":      "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello and more",
		"until close": "HTTP/1.1 200 OK\r\n\r\nhello",
	} {
		ends := make(chan error, 3)
		onSimulation(t, func(c net.Conn, r *http.Request) {
			io.WriteString(c, answer)
			if name == "until close" {
				c.(*looptest.Conn).CloseWrite()
			}
			_, err := io.Copy(io.Discard, c)
			ends <- err
		}, func(b *simBench) {
			b.Parallel = 1
			for _, r := range b.run(t, "http://dual.test/1", "http://dual.test/2", "http://dual.test/3") {
				if r.Err != nil {
					t.Error(r.Err)
				}
			}
		})
		for i := range 2 { // the end of the run may cut the third off
			if err := <-ends; err != nil {
				t.Errorf("%s, answer %d: %v, want the end of the stream", name, i+1, err)
			}
		}
	}
}

// A hop that has failed, has redirected or is complete leaves no connection, and no attempt to connect.
func TestHopsLeaveNoConnections(t *testing.T) {
	open := make(chan int, 10)
	var b *simBench
	onSimulation(t, func(c net.Conn, r *http.Request) {
		open <- b.client.Descriptors()
		switch r.URL.Path {
		case "/closing":
			io.WriteString(c, "HTTP/1.1 200 OK\r\n\r\nhello")
			c.(*looptest.Conn).CloseWrite()
		case "/missing":
			io.WriteString(c, "HTTP/1.1 404 Not Found\r\n\r\n")
		case "/moved":
			io.WriteString(c, "HTTP/1.1 302 Found\r\nLocation: /\r\n\r\n")
		case "/":
			hello(c, r)
		}
		io.Copy(io.Discard, c) // it does not close
	}, func(sim *simBench) {
		b = sim
		b.Parallel, b.Connect, b.Idle, b.Total = 1, 0, 0, time.Second
		b.six.SetConnectPolicy(looptest.DropConnects)
		for i, r := range b.run(t, "http://10.0.0.2/missing", "http://10.0.0.2/silent", "http://[2001:db8::2]/", "http://10.0.0.2/moved", "http://10.0.0.2/closing", "http://10.0.0.2/") {
			if (r.Err == nil) != (i >= 3) {
				t.Errorf("%s: %v", r.Job.Text, r.Err)
			}
		}
	})
	close(open)
	n := 0
	for fds := range open {
		if n++; fds != 1 {
			t.Errorf("the client has %d descriptors at request %d, want 1", fds, n)
		}
	}
	if n != 6 {
		t.Errorf("%d requests, want 6", n)
	}
}

// A connection that opens after its transfer has given up gets no handler.
func TestLateConnectionIsRefused(t *testing.T) {
	k := &call{t: &transfer{url: NewJob(0, "http://h/").URL}}
	if h := k.accept(nil); h != nil {
		t.Errorf("accepted by %v", h)
	}
	if k.t.call = k; k.accept(nil) != k {
		t.Error("the call of the transfer was refused")
	}
}

// The idle timeout counts from the last byte of the server.
func TestIdleTimeoutStartsAnewWithEachByte(t *testing.T) {
	const head = "HTTP/1.1 200 OK\r\n"
	onSimulation(t, func(c net.Conn, _ *http.Request) {
		for i := range head {
			time.Sleep(9 * time.Second)
			io.WriteString(c, head[i:i+1])
		}
		io.Copy(io.Discard, c)
	}, func(b *simBench) {
		r, took := b.timed("http://dual.test/")
		if want := time.Duration(len(head))*9*time.Second + b.Idle; !errors.Is(r.Err, errSilent) || took < want || took > want+time.Second {
			t.Errorf("error %v after %v, want %v after %v", r.Err, took, errSilent, want)
		}
	})
}

// When descriptors run out, transfers wait for those that have one, and use up no tries.
func TestTransfersWaitForDescriptors(t *testing.T) {
	onSimulation(t, func(c net.Conn, r *http.Request) {
		time.Sleep(time.Second)
		hello(c, r)
	}, func(b *simBench) {
		const descriptors, transfers = 5, 40
		b.client.SetMaxDescriptors(descriptors)
		var urls []string
		for i := range transfers {
			urls = append(urls, fmt.Sprintf("http://dual.test/%d", i))
		}
		for _, r := range b.run(t, urls...) {
			if r.Err != nil || r.Tries != 1 {
				t.Errorf("%s: %v after %d tries", r.Job.Text, r.Err, r.Tries)
			}
		}
	})
}

// Ending a run while names are looked up and connections are opened leaves nothing behind.
func TestInterruptWhileConnecting(t *testing.T) {
	for _, after := range []time.Duration{0, time.Millisecond, attemptDelay / 2, attemptDelay, 2 * attemptDelay} {
		onSimulation(t, hello, func(b *simBench) {
			ctx, cancel := context.WithTimeout(b.t.Context(), after)
			defer cancel()
			b.ctx = ctx
			b.six.SetConnectPolicy(looptest.DropConnects)
			b.four.SetConnectPolicy(looptest.DropConnects)
			began := time.Now()
			results, err := b.try(t, "http://dual.test/", "http://10.0.0.2/")
			if took := time.Since(began); !errors.Is(err, context.DeadlineExceeded) || took > after+timerSlack {
				t.Errorf("interrupted after %v: %v after %v", after, err, took)
			}
			for _, r := range results {
				if !Interrupted(r.Err) {
					t.Errorf("interrupted after %v: %s: %v", after, r.Job.Text, r.Err)
				}
			}
		})
	}
}

// A function is run although the loop's queue of functions is full.
func TestPostWithAFullQueue(t *testing.T) {
	b := newBench(t)
	names := b.resolver(t)
	defer names.Close()
	e, err := New(b.Config, names, b.out, func(*Result) {})
	if err != nil {
		t.Fatal(err)
	}
	done, ran := make(chan struct{}), false
	e.post(func() {
		for e.loop.Run(func() {}) == nil {
		}
		if !errors.Is(e.loop.Run(func() {}), loop.ErrQueueFull) {
			t.Error("the queue is not full")
		}
		e.post(func() { ran = true })
		e.loop.AfterFunc(2*time.Millisecond, func() { close(done) }) // timers fire in order
	})
	<-done
	if !ran {
		t.Error("the function was not run")
	}
	if err := e.Run(t.Context(), nil); err != nil {
		t.Error(err)
	}
}
