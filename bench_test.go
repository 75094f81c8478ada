package pollux_test

import (
	"net/netip"
	"testing"
	"time"

	"github.com/pollux-io/pollux"
	"github.com/pollux-io/pollux/sock"
)

func benchPoll(b *testing.B, options ...pollux.Option) *pollux.Poll {
	b.Helper()
	q, err := pollux.New(options...)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { q.Close() })
	return q
}

// benchUDP returns a socket that is connected to itself: a Write makes it readable.
func benchUDP(b *testing.B) *sock.UDPSocket {
	b.Helper()
	u, err := sock.ListenUDP(netip.MustParseAddrPort("127.0.0.1:0"))
	if err != nil {
		b.Fatal(err)
	}
	if err := u.Connect(u.LocalAddr()); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { u.Close() })
	return u
}

func BenchmarkRegisterDeregister(b *testing.B) {
	q, u := benchPoll(b), benchUDP(b)
	reg := q.Registrator()
	b.ReportAllocs()
	for b.Loop() {
		if err := reg.Register(u, 1, pollux.Readable, pollux.Edge); err != nil {
			b.Fatal(err)
		}
		if err := reg.Deregister(u); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkReregister(b *testing.B) {
	q, u := benchPoll(b), benchUDP(b)
	reg := q.Registrator()
	if err := reg.Register(u, 1, pollux.Readable, pollux.Oneshot); err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if err := reg.Reregister(u, 1, pollux.Readable, pollux.Oneshot); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkWaitReady is a Wait that finds one level-triggered source.
func BenchmarkWaitReady(b *testing.B) {
	q, u := benchPoll(b), benchUDP(b)
	if err := q.Register(u, 1, pollux.Readable, pollux.Level); err != nil {
		b.Fatal(err)
	}
	if _, err := u.Write([]byte("x")); err != nil {
		b.Fatal(err)
	}
	events := make([]pollux.Event, 16)
	b.ReportAllocs()
	for b.Loop() {
		if n, err := q.Wait(events, pollux.Forever); n != 1 || err != nil {
			b.Fatal(n, err)
		}
	}
}

func BenchmarkWaitEmpty(b *testing.B) {
	q := benchPoll(b)
	events := make([]pollux.Event, 16)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := q.Wait(events, 0); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkWakePending is a Wake while another is pending.
func BenchmarkWakePending(b *testing.B) {
	q := benchPoll(b)
	w, err := q.NewWaker(1)
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		w.Wake()
	}
}

// BenchmarkWakeRoundTrip wakes a sleeping Wait in another goroutine, which wakes
// this one in turn: half of the figure is the time from Wake to Wait returning.
func BenchmarkWakeRoundTrip(b *testing.B) {
	for _, mode := range []struct {
		name    string
		options []pollux.Option
	}{{"park", nil}, {"block", []pollux.Option{pollux.BlockThread()}}} {
		b.Run(mode.name, func(b *testing.B) { wakeRoundTrip(b, mode.options) })
	}
}

func wakeRoundTrip(b *testing.B, options []pollux.Option) {
	here, there := benchPoll(b, options...), benchPoll(b, options...)
	wakeHere, err := here.NewWaker(1)
	if err != nil {
		b.Fatal(err)
	}
	wakeThere, err := there.NewWaker(1)
	if err != nil {
		b.Fatal(err)
	}
	go func() {
		events := make([]pollux.Event, 1)
		for {
			if _, err := there.Wait(events, pollux.Forever); err != nil {
				return
			}
			wakeHere.Wake()
		}
	}()
	events := make([]pollux.Event, 1)
	b.ReportAllocs()
	for b.Loop() {
		wakeThere.Wake()
		if _, err := here.Wait(events, pollux.Forever); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkSleep is a Wait that times out.
func BenchmarkSleep(b *testing.B) {
	for _, d := range []time.Duration{100 * time.Microsecond, 5 * time.Millisecond} {
		b.Run(d.String(), func(b *testing.B) {
			q := benchPoll(b)
			events := make([]pollux.Event, 1)
			b.ReportAllocs()
			for b.Loop() {
				q.Wait(events, d)
			}
		})
	}
}
