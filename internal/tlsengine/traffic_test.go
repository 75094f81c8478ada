package tlsengine

import (
	"bytes"
	"crypto/tls"
	"errors"
	"io"
	"math/rand/v2"
	"sync/atomic"
	"testing"

	"github.com/pollux-io/pollux/internal/testkit"

	"github.com/pollux-io/pollux/internal/tlsengine/tlstest"
)

// sizes of messages in random traffic: at the edges of records, and in between.
var sizes = []int{0, 1, 2, 64, 1200, 16383, 16384, 16385, 40000}

// script is what one side sends.
func script(rnd *rand.Rand) (messages [][]byte, all []byte) {
	for range 1 + rnd.IntN(8) {
		n := sizes[rnd.IntN(len(sizes))]
		if rnd.IntN(3) == 0 {
			n = rnd.IntN(3000)
		}
		m := randomBytes(rnd, n)
		messages = append(messages, m)
		all = append(all, m...)
	}
	return messages, all
}

func TestTrafficIsExactBothWaysUnderEverySegmentation(t *testing.T) {
	testkit.CheckLeaks(t)
	each(t, func(t *testing.T, mode Mode, client bool, version uint16) {
		server, clientConfig := tlstest.Configs(version)
		clientConfig.ClientSessionCache = tls.NewLRUClientSessionCache(1)
		server.NextProtos, clientConfig.NextProtos = []string{"h2", "p"}, []string{"p", "q"}
		server.ClientAuth, server.ClientCAs = tls.RequireAndVerifyClientCert, tlstest.Identities()[1].Pool
		clientConfig.Certificates = []tls.Certificate{tlstest.Identities()[1].Certificate}
		seeds := uint64(24)
		if testing.Short() {
			seeds = 3
		}
		for seed := range seeds {
			rnd := rand.New(rand.NewPCG(seed, uint64(version)))
			server.DynamicRecordSizingDisabled = seed%2 == 0
			o, other := Options{Config: server, mode: mode}, clientConfig
			if client {
				o, other = Options{Config: clientConfig, Client: true, mode: mode}, server
			}
			state := exchange(t, rnd, o, other)
			if t.Failed() {
				t.Fatalf("seed %d", seed)
			}
			if state.Version != version || state.NegotiatedProtocol != "p" || len(state.PeerCertificates) != 1 || state.DidResume != (seed > 0) {
				t.Fatalf("seed %d: version %#x, protocol %q, %d certificates, resumed: %v", seed, state.Version, state.NegotiatedProtocol, len(state.PeerCertificates), state.DidResume)
			}
		}
	})
}

// exchange has a Conn and crypto/tls send each other random bytes, and end with close_notify.
func exchange(t *testing.T, rnd *rand.Rand, o Options, other *tls.Config) tls.ConnectionState {
	toPeer, toPeerAll := script(rnd)
	fromPeer, fromPeerAll := script(rnd)
	r := newRig(t, o, -1, randomCut(rnd))
	peer := r.other(other, !o.Client)
	var wrote atomic.Bool
	written, read := make(chan error, 1), make(chan []byte, 1)
	go func() {
		err := peer.Handshake()
		for _, m := range fromPeer {
			if err == nil {
				_, err = peer.Write(m)
			}
		}
		if err == nil {
			err = peer.CloseWrite()
		}
		wrote.Store(true)
		r.peer.out.end()
		written <- err
	}()
	go func() {
		b, err := io.ReadAll(peer)
		if err != nil {
			t.Errorf("the peer reads: %v", err)
		}
		read <- b
	}()
	sent := 0
	r.until(func() bool {
		if r.done && sent < len(toPeer) {
			r.send(toPeer[sent])
			sent++
			r.peer.out.event()
		}
		return false
	})
	if r.err != io.EOF {
		t.Errorf("the end is %v", r.err)
		r.peer.Close()
		return tls.ConnectionState{}
	}
	for ; sent < len(toPeer); sent++ { // the peer has ended its side: ours goes on
		r.send(toPeer[sent])
	}
	r.peer.in.Write(r.c.CloseNotify(nil))
	if err := <-written; err != nil {
		t.Errorf("the peer writes: %v", err)
	}
	if got := <-read; !bytes.Equal(got, toPeerAll) {
		t.Errorf("the peer has received %d bytes of %d, or others", len(got), len(toPeerAll))
	}
	if !bytes.Equal(r.received, fromPeerAll) {
		t.Errorf("%d bytes of %d were received, or others", len(r.received), len(fromPeerAll))
	}
	return r.c.ConnectionState()
}

func TestReceiveNeverKeepsTheRecordsMemory(t *testing.T) {
	each(t, func(t *testing.T, mode Mode, client bool, version uint16) {
		r, peer := established(t, mode, client, version)
		for range 5 {
			if _, err := peer.Write([]byte("message")); err != nil {
				t.Fatal(err)
			}
			b, _ := r.peer.out.take()
			for len(b) > 0 {
				n, _ := r.c.Next(b)
				plain, err := r.c.Receive(b[:n])
				if err != nil || len(plain) > 0 && (string(plain) != "message" || !within(plain, b[:n])) {
					t.Fatalf("%q, %v", plain, err)
				}
				clear(b[:n]) // as a loop's scratch buffer is
				b = b[n:]
			}
		}
	})
}

func TestCloseNotifyEndsOneDirection(t *testing.T) {
	each(t, func(t *testing.T, mode Mode, client bool, version uint16) {
		r, peer := established(t, mode, client, version)
		out := r.c.CloseNotify(nil)
		if len(out) == 0 || len(r.c.CloseNotify(nil)) != 0 {
			t.Fatal("close_notify is not sent exactly once")
		}
		r.peer.in.Write(out)
		if _, err := r.c.Send(nil, []byte("x")); err != ErrWriteClosed {
			t.Fatalf("Send after CloseNotify: %v", err)
		}
		if n, err := peer.Read(make([]byte, 1)); n != 0 || err != io.EOF {
			t.Fatalf("the peer reads %d bytes, %v", n, err)
		}
		if _, err := peer.Write([]byte("late")); err != nil {
			t.Fatal(err)
		}
		r.until(func() bool { return string(r.received) == "late" })
		if err := peer.CloseWrite(); err != nil {
			t.Fatal(err)
		}
		r.until(func() bool { return false })
		if r.err != io.EOF || r.c.ReceiveEnd() != io.EOF {
			t.Fatalf("the end is %v", r.err)
		}
	})
}

func TestEndWithoutCloseNotifyIsTruncation(t *testing.T) {
	each(t, func(t *testing.T, mode Mode, client bool, version uint16) {
		r, peer := established(t, mode, client, version)
		if _, err := peer.Write([]byte("all")); err != nil {
			t.Fatal(err)
		}
		r.peer.out.end()
		r.until(func() bool { return false })
		if string(r.received) != "all" || !errors.Is(r.err, io.ErrUnexpectedEOF) || errors.Is(r.err, io.EOF) {
			t.Fatalf("%q and %v", r.received, r.err)
		}
		if _, err := r.c.Receive(nil); err != ErrTruncated {
			t.Fatalf("Receive after the end: %v", err)
		}
		if _, err := r.c.Send(nil, []byte("x")); err != nil {
			t.Fatalf("Send after the end of the other direction: %v", err)
		}
	})
}

// TestHandshakeCutAtEveryByte: a peer that ends after n bytes gets the handshake ended, with ErrTruncated, or, if it
// had sent all of its part, the connection.
func TestHandshakeCutAtEveryByte(t *testing.T) {
	testkit.CheckLeaks(t)
	each(t, func(t *testing.T, mode Mode, client bool, version uint16) {
		server, clientConfig := tlstest.Configs(version)
		step := 1
		if testing.Short() || testkit.Race || mode == Copying { // the handshake does not depend on the mode
			step = 37
		}
		complete := 0
		for n := 0; complete < 3; n += step {
			o, other := Options{Config: server, mode: mode}, clientConfig
			if client {
				o, other = Options{Config: clientConfig, Client: true, mode: mode}, server
			}
			r := newRig(t, o, n, nil)
			if n == 0 {
				r.peer.out.end()
			}
			peer := r.other(other, !client)
			ended := make(chan struct{})
			go func() {
				defer close(ended)
				peer.Handshake()
				r.peer.out.end()
			}()
			r.until(func() bool { return false })
			if r.err != ErrTruncated {
				t.Fatalf("cut at byte %d: %v", n, r.err)
			}
			if r.c.handshake == nil {
				complete++ // the length of signatures varies: with fewer bytes it may not be complete
			}
			r.peer.Close()
			<-ended
		}
	})
}

func TestRecordCutAtEveryByteIsTruncation(t *testing.T) {
	each(t, func(t *testing.T, mode Mode, client bool, version uint16) {
		r, peer := established(t, mode, client, version)
		r.turn() // session tickets
		if _, err := peer.Write([]byte("a message")); err != nil {
			t.Fatal(err)
		}
		record, _ := r.peer.out.take()
		for n := range record {
			got, more := r.c.Next(record[:n])
			if got != 0 || more <= 0 || n+more > len(record) || n >= recordHeaderBytes && n+more != len(record) {
				t.Fatalf("%d of %d bytes: a record of %d, %d more", n, len(record), got, more)
			}
		}
		if n, more := r.c.Next(record); n != len(record) || more != 0 {
			t.Fatalf("a record of %d bytes is one of %d, %d more", len(record), n, more)
		}
		r.raw = record[:len(record)-1]
		r.peer.out.end()
		r.until(func() bool { return false })
		if r.err != ErrTruncated || len(r.received) > 0 {
			t.Fatalf("%q and %v", r.received, r.err)
		}
	})
}

func TestEveryChangedByteOfARecordIsAnErrorWithAnAlert(t *testing.T) {
	each(t, func(t *testing.T, mode Mode, client bool, version uint16) {
		for at := 0; at < 34; at++ {
			if testkit.Race && at%5 > 0 {
				continue
			}
			r, peer := established(t, mode, client, version)
			r.turn()
			if _, err := peer.Write([]byte("a message")); err != nil {
				t.Fatal(err)
			}
			record, _ := r.peer.out.take()
			if at >= len(record) {
				break
			}
			record[at] ^= 0x40
			n, _ := r.c.Next(record)
			if n == 0 { // a longer record is claimed
				record = append(record, make([]byte, MaxRecordBytes)...)
				n, _ = r.c.Next(record)
			}
			plain, err := r.c.Receive(record[:n:n])
			if err == nil || len(plain) > 0 || errors.Is(err, io.EOF) {
				t.Fatalf("byte %d changed: %q and %v", at, plain, err)
			}
			alert := r.c.TakeOutput(nil)
			if len(alert) == 0 || len(r.c.TakeOutput(nil)) > 0 {
				t.Fatalf("byte %d changed: an alert of %d bytes", at, len(alert))
			}
			r.peer.in.Write(alert)
			if _, err := peer.Read(make([]byte, 1)); err == nil || !bytes.Contains([]byte(err.Error()), []byte("remote error: tls: ")) {
				t.Fatalf("byte %d changed: the peer reads %v", at, err)
			}
			if _, again := r.c.Receive(record[:n]); again != err {
				t.Fatalf("then: %v", again)
			}
			if out, send := r.c.Send(nil, []byte("x")); send != err || len(out) > 0 {
				t.Fatalf("then Send: %d bytes, %v", len(out), send)
			}
			if len(r.c.CloseNotify(nil)) > 0 || r.c.ReceiveEnd() != err {
				t.Fatalf("then close_notify is sent, or the error is forgotten")
			}
		}
	})
}
