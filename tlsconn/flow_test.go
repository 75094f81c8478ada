package tlsconn_test

import (
	"bytes"
	"crypto/tls"
	"errors"
	"io"
	"math/rand/v2"
	"testing"
	"testing/synctest"

	"github.com/pollux-io/pollux/internal/testkit"
	"github.com/pollux-io/pollux/internal/tlsengine/tlstest"
	"github.com/pollux-io/pollux/loop"
	"github.com/pollux-io/pollux/loop/looptest"
	"github.com/pollux-io/pollux/tlsconn"
)

// KeyUpdates, in any segmentation, change no byte, and are answered in order with what is sent: also if nothing is.
func TestKeyUpdates(t *testing.T) {
	raws(t, func(t *testing.T, s side) {
		rnd := rand.New(rand.NewPCG(s.network.Seed, 3))
		s.network.Link = looptest.Link{SegmentBytes: 1 + rnd.IntN(2000), RandomSegments: true}
		r := newRecorder()
		p, _ := s.rawHandshake(t, r)
		conn := <-r.opened
		var want []byte
		answers := 0
		for i := range 60 {
			switch data := text(rnd.IntN(3000)); i % 3 {
			case 0:
				p.Write(p.out.Seal(tlstest.TypeApplication, data, rnd.IntN(100)))
				want = append(want, data...)
			case 1:
				p.Write(p.out.Seal(tlstest.TypeHandshake, tlstest.KeyUpdate(1), 0))
				p.out.Update()
				answers++
			case 2:
				p.Write(p.out.Seal(tlstest.TypeHandshake, tlstest.KeyUpdate(0), 0))
				p.out.Update()
			}
		}
		for i := range answers {
			if kind, payload := p.next(); kind != tlstest.TypeHandshake || !bytes.Equal(payload, tlstest.KeyUpdate(0)) {
				t.Fatalf("answer %d is a record of type %d with %v", i, kind, payload)
			}
		}
		conn.Write([]byte("after all that"))
		if kind, payload := p.next(); kind != tlstest.TypeApplication || string(payload) != "after all that" {
			t.Errorf("then came a record of type %d with %q", kind, payload)
		}
		settle()
		if got := r.received(); !bytes.Equal(got, want) {
			t.Errorf("the handler got %d bytes, want %d", len(got), len(want))
		}
		p.Write(p.out.Seal(tlstest.TypeAlert, []byte{1, 0}, 0))
		if kind, payload := p.next(); kind != tlstest.TypeAlert || !bytes.Equal(payload, []byte{1, 0}) {
			t.Errorf("the last record is of type %d with %v, want close_notify", kind, payload)
		}
		p.CloseWrite()
		if why := <-r.closed; why != nil {
			t.Error("Closed got", why)
		}
	})
}

// A peer that asks for answers and does not receive them is not received from any more, so memory is bounded; when it
// receives again, everything continues.
func TestAnswersAreBounded(t *testing.T) {
	raws(t, func(t *testing.T, s side) {
		if s.network.Seed > 0 || testkit.Race && s.network.Adversity.AsyncSend {
			return // a test of so many records takes long
		}
		r := newRecorder()
		p, _ := s.rawHandshake(t, r)
		conn := <-r.opened
		conn.SetWriteBuffer(4 << 10)
		conn.SetReadBuffer(4 << 10)
		p.SetReadBuffer(4 << 10)
		p.SetWriteBuffer(4 << 10)
		const rounds = 16000 // 27 bytes of answers each
		sent := make(chan bool, 1)
		go func() {
			var batch []byte
			for i := range rounds {
				batch = append(batch, p.out.Seal(tlstest.TypeApplication, []byte("x"), 0)...)
				batch = append(batch, p.out.Seal(tlstest.TypeHandshake, tlstest.KeyUpdate(1), 0)...)
				p.out.Update()
				if i%20 == 19 {
					if _, err := p.Write(batch); err != nil {
						t.Error(err)
						break
					}
					batch = batch[:0]
				}
			}
			sent <- true
		}()
		settle()
		if held := tlsconn.HeldBytes(conn); held < tlsconn.CloggedBytes || held > tlsconn.CloggedBytes+256<<10 {
			t.Errorf("%d bytes are held for a peer that does not receive", held)
		}
		if len(sent) > 0 {
			t.Error("the peer could send everything")
		}
		for range rounds {
			p.next()
		}
		<-sent
		settle()
		if got := len(r.received()); got != rounds {
			t.Errorf("the handler got %d bytes, want %d", got, rounds)
		}
		if held := tlsconn.HeldBytes(conn); held != 0 {
			t.Errorf("%d bytes are held, and all was sent", held)
		}
	})
}

// A slow peer stops a writer at the watermark, and a paused handler stops the peer; neither loses a byte.
func TestBackPressure(t *testing.T) {
	sides(t, func(t *testing.T, s side) {
		s.adverse(t, func(s side) {
			s.group = loop.Config{HighWatermarkBytes: 32 << 10, MaxUnsentBytes: 64 << 10}
			r := newRecorder()
			c, raw, _ := s.handshake(t, r)
			conn := <-r.opened
			raw.SetReadBuffer(4 << 10)
			conn.SetWriteBuffer(4 << 10)
			data := text(16 << 10)
			written := 0
			for {
				if _, err := conn.Write(data); err != nil {
					if !errors.Is(err, loop.ErrBufferFull) {
						t.Error(err)
					}
					break
				}
				if written++; written > 100 {
					t.Fatal("a writer is not stopped")
				}
				settle()
			}
			if unsent := conn.Unsent(); unsent > 64<<10 || unsent < 32<<10 {
				t.Errorf("%d bytes are unsent", unsent)
			}
			got := make([]byte, written*len(data))
			if _, err := io.ReadFull(c, got); err != nil || !bytes.Equal(got, bytes.Repeat(data, written)) {
				t.Errorf("the peer got other bytes, %v", err)
			}
			settle()
			if unsent := conn.Unsent(); unsent != 0 {
				t.Errorf("%d bytes are unsent", unsent)
			}

			conn.Pause()
			settle()
			conn.SetReadBuffer(4 << 10)
			raw.SetWriteBuffer(4 << 10)
			before := len(r.received())
			sent := make(chan int, 1)
			go func() {
				n, _ := c.Write(text(1 << 20))
				sent <- n
			}()
			settle()
			if len(sent) > 0 || len(r.received()) != before {
				t.Error("a paused handler does not stop the peer")
			}
			conn.Resume()
			if n := <-sent; n != 1<<20 {
				t.Errorf("the peer has sent %d bytes", n)
			}
			settle()
			if got := r.received(); !bytes.Equal(got, text(1<<20)) {
				t.Errorf("the handler got %d bytes", len(got))
			}
			c.CloseWrite()
			io.ReadAll(c)
			<-r.closed
		})
	})
}

// Members of a Fanout get each message, with and without TLS.
func TestFanout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		side{version: tls.VersionTLS13}.adverse(t, func(s side) {
			f := loop.NewFanout(loop.FanoutConfig{})
			var peers []io.Reader
			for range 3 {
				r := newRecorder()
				c, _, _ := s.handshake(t, r)
				peers = append(peers, c)
				if err := f.Add(<-r.opened); err != nil {
					t.Fatal(err)
				}
			}
			var want []byte
			for i := range 20 {
				message := text(1 << i % 70000)
				want = append(want, message...)
				if err := f.Send(loop.NewShared(message)); err != nil {
					t.Fatal(err)
				}
			}
			for i, c := range peers {
				got := make([]byte, len(want))
				if _, err := io.ReadFull(c, got); err != nil || !bytes.Equal(got, want) {
					t.Errorf("member %d got other bytes, %v", i, err)
				}
			}
		})
	})
}

// A relay may have TLS on either side, and passes on half-closes.
func TestRelay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		side{version: tls.VersionTLS13}.adverse(t, func(s side) {
			server, client := tlstest.Configs(tls.VersionTLS13)
			n := looptest.New(t, s.network)
			behind, proxy, host := n.Host(), n.Host(), n.Host()
			target := must(behind.Listen("tcp", behind.Addr().String()+":443"))
			defer target.Close()
			g := proxy.NewGroup(loop.Config{Loops: 1})
			ln := must(g.Listen("tcp", proxy.Addr().String()+":443", func(*loop.Conn) loop.Handler {
				return tlsconn.Server(server, must(loop.RelayTo("tcp", target.Addr().String(), loop.RelayConfig{})))
			}))
			want := text(300000)
			go func() {
				c := must(target.Accept())
				defer c.Close()
				got, err := io.ReadAll(c)
				if err != nil || !bytes.Equal(got, want) {
					t.Errorf("behind the relay: %d bytes, %v", len(got), err)
				}
				c.Write(got)
			}()
			raw := must(host.Dial("tcp", ln.Addr().String()))
			defer raw.Close()
			c := tls.Client(raw, client)
			if err := c.Handshake(); err != nil {
				t.Fatal(err)
			}
			go func() {
				c.Write(want)
				c.CloseWrite()
			}()
			if got, err := io.ReadAll(c); err != nil || !bytes.Equal(got, want) {
				t.Errorf("the client got %d bytes, %v", len(got), err)
			}
		})
	})
}
