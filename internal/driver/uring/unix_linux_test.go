package uring

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"path/filepath"
	"sync"
	"testing"

	"github.com/pollux-io/pollux/sock"
)

// listenUnix returns a function that makes a paused, attached Unix stream whose peer is a connection
// of package net.
func (b *bench) listenUnix() func() *testStream {
	b.Helper()
	name := filepath.Join(b.TempDir(), "s")
	ln, err := net.Listen("unix", name)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { ln.Close() })
	return func() *testStream {
		s := &testStream{b: b}
		s.Up = s
		if err := sock.ConnectUnixInto(&s.Stream.Stream, name); err != nil {
			b.Fatal(err)
		}
		if err := b.Attach(&s.Stream); err != nil {
			b.Fatal(err)
		}
		if s.peer, err = ln.Accept(); err != nil {
			b.Fatal(err)
		}
		return s
	}
}

// The end of a Unix stream is reported if its last bytes and the FIN are there when a receive starts to
// wait: after more receives at once than the kernel makes for one request (32), which is the
// case that a multishot receive always misses since Linux 6.17 (receivesOnce).
func TestL3bEndOfUnixStreamInManyBuffers(t *testing.T) {
	for _, n := range []int{1, 33, 34, 40} { // buffers
		t.Run(fmt.Sprint(n), func(t *testing.T) { testEndOfUnixStream(t, n) })
	}
}

func testEndOfUnixStream(t *testing.T, n int) {
	b := newBench(t, options{entries: 16, completions: 256, buffers: 64, noBundles: true})
	s := b.listenUnix()()
	defer b.end(s)
	b.Budget = 64 * testBuffer // no cancellation of the receive, after which a new one finds the FIN
	want := pattern(byte(n), n*testBuffer)
	if _, err := s.peer.Write(want); err != nil {
		t.Fatal(err)
	}
	if err := s.peer.(*net.UnixConn).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	b.Resume(&s.Stream)
	b.until(func() bool { return s.end != nil })
	if s.end != io.EOF || !bytes.Equal(s.in, want) {
		t.Errorf("%d of %d bytes, or others, and then %v", len(s.in), len(want), s.end)
	}
}

// The end of a Unix stream is reported if the last bytes and the FIN arrive at any time: while a
// receive starts, while it waits, and while it handles what has arrived before. Only chance, and other
// processes' load, make a multishot receive miss the FIN here; the test above always does.
func TestL3bEndOfUnixStreamAtAnyTime(t *testing.T) {
	for what, o := range map[string]options{
		"bundles":              {entries: 16, completions: 256, buffers: 64},
		"few buffers":          {entries: 16, completions: 256, buffers: 2},
		"one buffer a receive": {entries: 16, completions: 256, buffers: 64, noBundles: true},
	} {
		t.Run(what, func(t *testing.T) {
			b := newBench(t, o)
			connect := b.listenUnix()
			for round := range 500 {
				s := connect()
				want := pattern(byte(round), 1+round*151%(6*testBuffer))
				var wg sync.WaitGroup
				wg.Go(func() {
					for p := want; len(p) > 0; {
						n := min(len(p), 381)
						if _, err := s.peer.Write(p[:n]); err != nil {
							t.Error(err)
							return
						}
						p = p[n:]
					}
					if err := s.peer.(*net.UnixConn).CloseWrite(); err != nil {
						t.Error(err)
					}
				})
				b.Resume(&s.Stream)
				b.until(func() bool { return s.end != nil })
				wg.Wait()
				if s.end != io.EOF || !bytes.Equal(s.in, want) {
					t.Fatalf("round %d: %d of %d bytes, or others, and then %v", round, len(s.in), len(want), s.end)
				}
				b.end(s)
			}
		})
	}
}
