package tlsconn_test

import (
	"bytes"
	"errors"
	"io"
	"testing"
	"time"

	"github.com/pollux-io/pollux/internal/testkit"
	"github.com/pollux-io/pollux/loop"
	"github.com/pollux-io/pollux/loop/looptest"
)

// cutConn sends what is written in two parts, cut after so many bytes of the stream. The receiver has a second for the
// first part.
type cutConn struct {
	*looptest.Conn
	left int // bytes before the cut; negative: after it
	stop bool
}

var errCut = errors.New("cut off")

func (c *cutConn) Write(b []byte) (n int, err error) {
	if c.left >= 0 && len(b) > c.left {
		if n, err = c.Conn.Write(b[:c.left]); err != nil {
			return n, err
		}
		b, c.left = b[c.left:], -1
		time.Sleep(time.Second)
		if c.stop {
			return n, errCut
		}
	}
	if c.left >= 0 {
		c.left -= len(b)
	}
	m, err := c.Conn.Write(b)
	return n + m, err
}

// cutStep is 1, or more with the race detector: with it every byte takes too long.
func cutStep() int {
	if testkit.Race {
		return 11
	}
	return 1
}

// A handshake, a record and close_notify may be cut at each byte.
func TestCutAtEveryByte(t *testing.T) {
	sides(t, func(t *testing.T, s side) {
		for cut := 0; ; cut += cutStep() {
			r := newRecorder()
			r.echo = true
			peer, _, _ := s.connect(t, r)
			raw := &cutConn{Conn: peer, left: cut}
			c := s.other(raw)
			if _, err := io.WriteString(c, "some data"); err != nil {
				t.Fatalf("cut after %d bytes: %v", cut, err)
			}
			c.CloseWrite()
			got, err := io.ReadAll(c)
			if err != nil || string(got) != "some data" {
				t.Fatalf("cut after %d bytes: got %q, %v", cut, got, err)
			}
			if why := <-r.closed; why != nil {
				t.Fatalf("cut after %d bytes: Closed got %v", cut, why)
			}
			peer.Close()
			if raw.left >= 0 {
				t.Logf("%d cuts", cut)
				return // the stream has no more bytes
			}
		}
	})
}

// A stream that ends after any byte before close_notify is truncated: the handler is not called with its end, Dial fails
// if the handshake is not done, and nothing hangs.
func TestTruncatedAtEveryByte(t *testing.T) {
	sides(t, func(t *testing.T, s side) {
		for cut := 0; ; cut += cutStep() {
			r := newRecorder()
			var failed error
			s.options.HandshakeFailed = func(_ *loop.Conn, err error) { failed = err }
			peer, _, dialed := s.connect(t, r)
			raw := &cutConn{Conn: peer, left: cut, stop: true}
			c := s.other(raw)
			_, err := io.WriteString(c, "some data")
			if err == nil {
				err = c.CloseWrite()
			}
			peer.CloseWrite()
			settle()
			switch opened := len(r.opened) > 0; {
			case raw.left >= 0: // nothing was cut off
				if why := <-r.closed; why != nil || r.callbacks() != "ODRC" {
					t.Fatalf("nothing cut off: Closed got %v, callbacks %s", why, r.callbacks())
				}
				peer.Close()
				return
			case !errors.Is(err, errCut):
				t.Fatalf("cut after %d bytes: the peer's error is %v", cut, err)
			case opened:
				mustTruncated(t, <-r.closed)
			case s.client:
				if err := <-dialed; err == nil || failed == nil {
					t.Fatalf("cut after %d bytes: Dial returns %v, and HandshakeFailed got %v", cut, err, failed)
				}
			case failed == nil || cut > 0 && !errors.Is(failed, io.ErrUnexpectedEOF) || cut == 0 && !errors.Is(failed, io.EOF):
				t.Fatalf("cut after %d bytes: HandshakeFailed got %v", cut, failed)
			}
			if t.Failed() {
				t.Fatalf("cut after %d bytes, callbacks %s", cut, r.callbacks())
			}
			peer.Close()
		}
	})
}

// Records and messages of the handshake may come byte by byte.
func TestOneByteSegments(t *testing.T) {
	sides(t, func(t *testing.T, s side) {
		s.network.Link = looptest.Link{SegmentBytes: 1, Latency: time.Millisecond, Jitter: time.Millisecond}
		r := newRecorder()
		r.echo = true
		peer, _, _ := s.connect(t, r)
		c := s.other(peer)
		want := text(3000)
		c.Write(want)
		c.CloseWrite()
		got, err := io.ReadAll(c)
		if err != nil || !bytes.Equal(got, want) {
			t.Fatalf("got %d bytes, %v", len(got), err)
		}
		if why := <-r.closed; why != nil {
			t.Error("Closed got", why)
		}
	})
}

// shredder sends the ClientHello, or the ServerHello, in records of one byte each.
type shredder struct {
	*looptest.Conn
	done bool
}

func (s *shredder) Write(b []byte) (int, error) {
	if s.done {
		return s.Conn.Write(b)
	}
	s.done = true
	end := 5 + int(b[3])<<8 + int(b[4])
	var shreds []byte
	for _, x := range b[5:end] {
		shreds = append(shreds, b[0], b[1], b[2], 0, 1, x)
	}
	if _, err := s.Conn.Write(append(shreds, b[end:]...)); err != nil {
		return 0, err
	}
	return len(b), nil
}

// A message of the handshake, and data, may come in records of one byte each.
func TestOneByteRecords(t *testing.T) {
	sides(t, func(t *testing.T, s side) {
		s.adverse(t, func(s side) {
			r := newRecorder()
			r.echo = true
			peer, _, _ := s.connect(t, r)
			c := s.other(&shredder{Conn: peer})
			if err := c.Handshake(); err != nil {
				t.Fatal(err)
			}
			want := text(1000)
			go func() {
				for i := range want {
					c.Write(want[i : i+1])
				}
				c.CloseWrite()
			}()
			if got, err := io.ReadAll(c); err != nil || !bytes.Equal(got, want) {
				t.Errorf("got %d bytes, %v", len(got), err)
			}
			if why := <-r.closed; why != nil {
				t.Error("Closed got", why)
			}
		})
	})
}
