package sim_test

import (
	"bytes"
	"maps"
	"math"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/pollux-io/pollux/internal/driver"
	"github.com/pollux-io/pollux/internal/driver/sim"
	"github.com/pollux-io/pollux/internal/simnet"
	"github.com/pollux-io/pollux/internal/stream"
	"github.com/pollux-io/pollux/internal/testkit"
	"github.com/pollux-io/pollux/sock"
)

// TestValidate sets each number of an Adversity to values that are out of range; the error names it.
func TestValidate(t *testing.T) {
	if err := (&sim.Adversity{}).Validate(); err != nil {
		t.Error("the zero Adversity: ", err)
	}
	a := all
	if err := a.Validate(); err != nil {
		t.Error(err)
	}
	fields := reflect.TypeFor[sim.Adversity]()
	for i := range fields.NumField() {
		f := fields.Field(i)
		refused := func(set func(v reflect.Value)) {
			t.Helper()
			a := sim.Adversity{}
			v := reflect.ValueOf(&a).Elem().Field(i)
			set(v)
			if err := a.Validate(); err == nil || !strings.Contains(err.Error(), f.Name) {
				t.Errorf("%s is %v: %v", f.Name, v, err)
			}
		}
		switch f.Type.Kind() {
		case reflect.Float64:
			for _, p := range []float64{-0.1, sim.MaxProbability + 0.01, math.NaN(), math.Inf(1)} {
				refused(func(v reflect.Value) { v.SetFloat(p) })
			}
		case reflect.Int:
			for _, n := range []int64{-1, driver.MaxLateBytes + 1} {
				refused(func(v reflect.Value) { v.SetInt(n) })
			}
		}
	}
}

// bench is a driver and a stream, whose upcalls are counted, with its peer.
type bench struct {
	driver.Stream
	*testing.T
	host *sim.Host
	drv  driver.Driver
	l    *sock.TCPListener
	peer *sock.TCPStream

	received [][]byte // the driver's own memory
	sent     []int
	released bool
	pause    bool    // stop receiving
	first    **bench // the first to receive, if not nil
}

func newBench(t *testing.T, a sim.Adversity) *bench {
	n := simnet.New(simnet.Config{Seed: *seed})
	t.Cleanup(n.Close)
	x := &bench{T: t, host: sim.NewHost(n.Host(), a)}
	x.Up = x
	var err error
	x.drv, err = x.host.OpenDriver(someConfig)
	x.must(err)
	x.l, err = sock.ListenTCP(anyLoopback, x.here())
	x.must(err)
	x.peer = x.connect()
	if !testkit.Eventually(func() bool { return x.l.AcceptInto(&x.Stream.Stream) == nil }) {
		t.Fatal("no connection to accept")
	}
	x.must(x.drv.Attach(&x.Stream))
	x.turns(100)
	t.Cleanup(func() {
		x.drv.Release(&x.Stream)
		x.peer.Close()
		x.l.Close()
		x.turns(100)
		x.must(x.drv.Close())
	})
	return x
}

func (x *bench) here() sock.Option { return sock.OnNetwork(networkOf(x.host)) }

func (x *bench) must(err error) {
	x.Helper()
	if err != nil {
		x.Fatal(err)
	}
}

func (x *bench) connect() *sock.TCPStream {
	x.Helper()
	c, err := sock.ConnectTCP(x.l.Addr(), x.here())
	x.must(err)
	return c
}

func (x *bench) turns(n int) {
	x.Helper()
	for range n {
		x.must(x.drv.Turn(0))
	}
}

func (x *bench) write(b []byte) {
	x.Helper()
	n, err := x.peer.Write(b)
	if n != len(b) {
		x.Fatal(n, err)
	}
}

func (x *bench) Received(b []byte) bool {
	x.received = append(x.received, b)
	if x.first != nil && *x.first == nil {
		*x.first = x
	}
	return !x.pause
}
func (x *bench) Sent(n int, err error) { x.must(err); x.sent = append(x.sent, n) }
func (x *bench) Connected(error)       {}
func (x *bench) ReceiveEnded(error)    {}
func (x *bench) Failed(error)          {}
func (x *bench) Released()             { x.released = true }

// TestEachHappens: each adversity alone is seen to happen, and not to happen without it. The conformance
// suite would pass if they had no effect.
func TestEachHappens(t *testing.T) {
	const tries = 100 // in which a probability of 0.5 must show
	happenings := maps.Clone(sendingHappens)
	maps.Copy(happenings, receivingHappens)
	for field, happens := range happenings {
		t.Run(field, func(t *testing.T) {
			testkit.CheckLeaks(t)
			saved := *seed
			defer func() { *seed = saved }()
			if happens(newBench(t, sim.Adversity{AsyncSend: field == "EmptySends"})) {
				t.Error("it happens without the adversity")
			}
			for range tries {
				*seed++
				if happens(newBench(t, adversities[field])) {
					return
				}
			}
			t.Errorf("it did not happen in %d tries", tries)
		})
	}
}

// A happening reports whether an adversity has had an effect.
type happening func(x *bench) bool

var message = bytes.Repeat([]byte("message "), 100)

var sendingHappens = map[string]happening{
	"AsyncSend": func(x *bench) bool {
		b := bytes.Clone(message)
		n, err := x.drv.Send(&x.Stream, [][]byte{b})
		x.must(err)
		copy(b, "changed!")
		x.turns(10)
		got := make([]byte, len(b))
		x.peer.Read(got)
		return n == 0 && !x.drv.SyncSend() && string(got[:8]) == "changed!"
	},
	"AsyncConnect": func(x *bench) bool {
		s := &driver.Stream{Up: &bench{T: x.T}}
		stream.PrepareOnly(s)
		x.must(sock.ConnectUnixInto(&s.Stream, "/nobody", x.here()))
		err := x.drv.Connect(s) // fails at once, as nothing listens there
		x.drv.Release(s)
		x.turns(10)
		return err == nil
	},
	"AsyncPackets": func(x *bench) bool {
		sender, ok := x.drv.(driver.PacketSender)
		if !ok {
			return false
		}
		u, err := sock.ListenUDP(anyLoopback, x.here())
		x.must(err)
		p := &driver.PacketSocket{UDPSocket: u, Up: &counting{}}
		x.must(x.drv.Bind(p))
		n, err := sender.SendPackets(p, []sock.Message{{Data: message, Addr: u.LocalAddr()}})
		x.must(err)
		_, _, early := u.ReadFrom(make([]byte, 1))
		x.turns(10)
		got := p.Up.(*counting).packets
		x.drv.Unbind(p)
		return n == 1 && early == sock.ErrWouldBlock && got == 1
	},
	"PartialSends": func(x *bench) bool {
		n, err := x.drv.Send(&x.Stream, [][]byte{message})
		x.must(err)
		x.turns(10)
		return n > 0 && n < len(message) && len(x.sent) == 1
	},
	"EmptySends": func(x *bench) bool {
		x.drv.Send(&x.Stream, [][]byte{message})
		x.turns(10)
		return len(x.sent) == 1 && x.sent[0] == 0
	},
}

var receivingHappens = map[string]happening{
	"PartialReceives": func(x *bench) bool {
		x.drv.Resume(&x.Stream)
		x.write(message)
		x.turns(100)
		return len(x.received) > 1
	},
	"LateBytes": func(x *bench) bool {
		x.pause = true
		x.drv.Resume(&x.Stream)
		x.write(bytes.Repeat(message, 20)) // more than ScratchBytes
		x.turns(100)
		return len(x.received) > 1
	},
	"HeldAccepts": func(x *bench) bool {
		c := x.connect()
		defer c.Close()
		before := x.host.Descriptors()
		l := &driver.Listener{Acceptor: x.l, Up: &pausing{x: x}}
		l.Up.(*pausing).l = l
		x.must(x.drv.Listen(l))
		other := x.connect()
		defer other.Close()
		x.turns(10)
		after := x.host.Descriptors()
		x.drv.Unlisten(l)
		return after-before == 3 // other, the connection delivered, and one that is held
	},
	"Shuffle": func(x *bench) bool {
		c := x.connect()
		defer c.Close()
		second := &bench{T: x.T}
		second.Up = second
		if !testkit.Eventually(func() bool { return x.l.AcceptInto(&second.Stream.Stream) == nil }) {
			x.Fatal("no connection to accept")
		}
		x.must(x.drv.Attach(&second.Stream))
		defer x.drv.Release(&second.Stream)
		x.turns(10)
		x.first = new(*bench)
		second.first = x.first
		x.drv.Resume(&x.Stream)
		x.drv.Resume(&second.Stream)
		x.write(message)
		c.Write(message)
		x.turns(1)
		return *x.first == second
	},
	"Delays": func(x *bench) bool {
		x.drv.Resume(&x.Stream)
		x.write(message)
		x.turns(1)
		return len(x.received) == 0
	},
	"DelayedReleases": func(x *bench) bool {
		x.drv.Release(&x.Stream)
		x.turns(1)
		return !x.released
	},
	"EarlyTurns": func(x *bench) bool {
		start := time.Now()
		x.must(x.drv.Turn(2 * time.Millisecond))
		return time.Since(start) < 2*time.Millisecond
	},
	"SpoilMemory": func(x *bench) bool {
		x.drv.Resume(&x.Stream)
		x.write(message)
		x.turns(1)
		return !bytes.HasPrefix(message, x.received[0])
	},
}

// counting counts the datagrams received.
type counting struct{ packets int }

func (c *counting) Packets(ms []sock.Message) { c.packets += len(ms) }
func (c *counting) Writable()                 {}
func (c *counting) SendFailed(int, error)     {}
func (c *counting) Released()                 {}

// pausing is a listener that pauses when it has accepted a connection, which it releases.
type pausing struct {
	x *bench
	l *driver.Listener
}

func (p *pausing) Incoming() *driver.Stream { return &driver.Stream{Up: &bench{T: p.x.T}} }
func (p *pausing) Accepted(s *driver.Stream) {
	p.x.drv.PauseAccept(p.l)
	p.x.Cleanup(func() { p.x.drv.Release(s) })
}
func (p *pausing) AcceptFailed(err error) { p.x.Error(err) }
