package tlsengine

import (
	"bytes"
	"crypto/tls"
	"errors"
	"io"
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pollux-io/pollux/internal/testkit"

	"github.com/pollux-io/pollux/internal/tlsengine/tlstest"
)

func TestNewRefusesOptions(t *testing.T) {
	for name, o := range map[string]Options{
		"no config":                   {Notify: func() {}},
		"no Notify":                   {Config: &tls.Config{}},
		"renegotiation of a client":   {Config: &tls.Config{Renegotiation: tls.RenegotiateFreelyAsClient}, Client: true, Notify: func() {}},
		"renegotiation once":          {Config: &tls.Config{Renegotiation: tls.RenegotiateOnceAsClient}, Client: true, Notify: func() {}},
		"renegotiation with a server": {Config: &tls.Config{Renegotiation: tls.RenegotiateOnceAsClient}, Notify: func() {}},
	} {
		if c, err := New(o); c != nil || err == nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestGarbageGetsAnAlert(t *testing.T) {
	server, client := tlstest.Configs(tls.VersionTLS13)
	for _, garbage := range []string{
		"GET / HTTP/1.1\r\n\r\n", "SSH-2.0-x\r\n", "\x80\x2e\x01\x00\x02", "\x16\x03\x01\x00\x04\x02\x00\x00\x00", "\x16\x03\x01\x00\x05\x01\x00\x00\x01\x00",
		"\x16\x03\x01\x48\x01", "\x16\x03\x01\x00\x04\x01\x01\x00\x01", "\x17\x03\x03\x00\x01x", "\x14\x03\x03\x00\x01\x01", "\x16\x03\x01\x00\x00",
	} {
		for _, o := range []Options{{Config: server}, {Config: client, Client: true}} {
			r := newRig(t, o, -1, func(int) int { return 1 })
			var hello int
			if o.Client {
				r.until(func() bool { hello = len(r.peer.in.b); return hello > 0 })
			}
			r.peer.out.Write([]byte(garbage))
			r.until(func() bool { return false })
			out, _ := r.peer.in.take()
			alert := out[hello:]
			if len(alert) != 7 || alert[0] != 21 || alert[5] != 2 || !r.done {
				t.Errorf("%q gets % x, and %v", garbage, alert, r.err)
			}
			header, ok := errors.AsType[tls.RecordHeaderError](r.err)
			if ok && header.Conn != nil {
				t.Errorf("%q: the transport is in %v", garbage, r.err)
			}
		}
	}
}

func TestHandshakeInRecordsOfOneByte(t *testing.T) {
	server, client := tlstest.Configs(tls.VersionTLS13)
	r := newRig(t, Options{Config: server}, -1, nil)
	hello, answer := newStream(-1, nil), newStream(-1, nil)
	defer answer.end()
	go tls.Client(&peerConn{in: answer, out: hello}, client).Handshake()
	flight := make([]byte, 4096)
	n, _ := hello.Read(flight)
	for _, b := range flight[5:n] {
		r.peer.out.Write([]byte{22, 3, 1, 0, 1, b})
	}
	r.until(func() bool { return len(r.peer.in.b) > 0 })
	if b, _ := r.peer.in.take(); r.err != nil || b[0] != 22 || b[5] != 2 {
		t.Fatalf("the answer is % x, %v", b[:min(len(b), 10)], r.err)
	}
	r.c.Abort(io.ErrClosedPipe)
	r.until(func() bool { return false })
	if r.err != io.ErrClosedPipe {
		t.Fatal(r.err)
	}
}

// TestFeedIsBounded: Feed reports that it is full, and Step when it is not any more.
func TestFeedIsBounded(t *testing.T) {
	server, client := tlstest.Configs(tls.VersionTLS13)
	entered, leave := make(chan struct{}), make(chan struct{})
	server.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) {
		close(entered)
		<-leave
		return nil, nil
	}
	r := newRig(t, Options{Config: server}, -1, nil)
	go r.other(client, true).Handshake()
	hello := make([]byte, 4096)
	n, _ := r.peer.out.Read(hello)
	r.c.Feed(hello[:n])
	<-entered
	junk := append([]byte{22, 3, 3, 0x40, 0}, make([]byte, 1<<14)...)
	if r.c.Feed(junk[:MaxHandshakeUnread-1]) {
		t.Fatal("full too early")
	}
	if !r.c.Feed(junk[MaxHandshakeUnread-1:]) {
		t.Fatal("not full")
	}
	if p := r.c.Step(nil); p.Receive || p.Done {
		t.Fatalf("%+v while nothing was read", p)
	}
	close(leave)
	for {
		<-r.events
		p := r.c.Step(nil)
		if p.Receive || p.Done { // the junk ends the handshake: both may come together
			if !p.Receive {
				t.Fatal("Receive is not reported")
			}
			break
		}
	}
	r.c.Abort(io.ErrClosedPipe)
	r.peer.Close()
}

// TestReadingIsReported: after Feed was full, crypto/tls reads all and waits for the rest of a ClientHello.
func TestReadingIsReported(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server, client := tlstest.Configs(tls.VersionTLS13)
		client.NextProtos = slices.Repeat([]string{strings.Repeat("p", 200)}, 20)
		var records []byte
		for _, b := range firstFlight(t, client)[recordHeaderBytes:] {
			records = append(records, 22, 3, 1, 0, 1, b)
		}
		r := newRig(t, Options{Config: server}, -1, nil)
		if !r.c.Feed(records[:len(records)-1]) {
			t.Fatal("not full")
		}
		synctest.Wait()
		if len(r.events) != 1 {
			t.Error("Notify is not called")
		}
		if p := r.c.Step(nil); !p.Receive || p.Done || len(p.Output) > 0 {
			t.Errorf("%+v", p)
		}
		if p := r.c.Step(nil); p.Receive {
			t.Error("Receive is returned twice")
		}
		r.c.Abort(io.ErrClosedPipe)
	})
}

func TestTheEndOfInputWakesTheHandshake(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server, client := tlstest.Configs(tls.VersionTLS13)
		hello := firstFlight(t, client)
		for _, n := range []int{0, 1, recordHeaderBytes, 50, len(hello)} {
			r := newRig(t, Options{Config: server}, -1, nil)
			r.c.Feed(hello[:n])
			synctest.Wait()
			r.c.FeedEnd()
			r.until(func() bool { return false })
			if r.err != ErrTruncated {
				t.Errorf("the end after %d bytes: %v", n, r.err)
			}
		}
	})
}

func TestTimeoutEndsAHandshake(t *testing.T) {
	server, client := tlstest.Configs(tls.VersionTLS13)
	for _, o := range []Options{{Config: server}, {Config: client, Client: true}, {Config: server, Pool: NewPool(PoolConfig{})}} {
		synctest.Test(t, func(t *testing.T) {
			o.Timeout = 3 * time.Second
			begin := time.Now()
			r := newRig(t, o, -1, nil)
			r.until(func() bool { return false })
			if took := time.Since(begin); r.err != ErrHandshakeTimeout || took != o.Timeout {
				t.Errorf("%v after %v", r.err, took)
			}
			if p := r.c.Step(nil); p.Done {
				t.Error("Done is returned twice")
			}
		})
	}
}

// TestTimeoutDoesNotWaitForCallbacks: the end is reported while a callback of the Config is running. Its context ends.
func TestTimeoutDoesNotWaitForCallbacks(t *testing.T) {
	for _, pool := range []*Pool{nil, NewPool(PoolConfig{})} {
		synctest.Test(t, func(t *testing.T) {
			server, client := tlstest.Configs(tls.VersionTLS13)
			leave := make(chan struct{})
			var canceled bool
			server.GetConfigForClient = func(info *tls.ClientHelloInfo) (*tls.Config, error) {
				<-info.Context().Done()
				canceled = true
				<-leave
				return nil, nil
			}
			r := newRig(t, Options{Config: server, Timeout: time.Second, Pool: pool}, -1, nil)
			go r.other(client, true).Handshake()
			r.until(func() bool { return false })
			synctest.Wait()
			if r.err != ErrHandshakeTimeout || !canceled {
				t.Errorf("%v, the callback's context has ended: %v", r.err, canceled)
			}
			close(leave)
			r.peer.Close()
			synctest.Wait()
			if pool != nil && pool.Stats().InProgress != 0 {
				t.Errorf("%+v", pool.Stats())
			}
		})
	}
}

func TestPanicAndExitInCallbacksEndTheHandshakeOnly(t *testing.T) {
	testkit.CheckLeaks(t)
	for name, callback := range map[string]func(){"panic": func() { panic("broken") }, "exit": runtime.Goexit} {
		pool := NewPool(PoolConfig{Workers: 1})
		for range 3 {
			server, client := tlstest.Configs(tls.VersionTLS13)
			server.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) { callback(); return nil, nil }
			r := newRig(t, Options{Config: server, Pool: pool}, -1, nil)
			go r.other(client, true).Handshake()
			r.until(func() bool { return false })
			p, ok := errors.AsType[*PanicError](r.err)
			if !ok || (name == "panic") != strings.Contains(p.Error(), "broken") || !bytes.Contains(p.Stack, []byte("tlsengine")) {
				t.Errorf("%s: %v", name, r.err)
			}
			r.peer.Close()
		}
		if s := pool.Stats(); s.InProgress != 0 {
			t.Errorf("%s: %+v", name, s)
		}
	}
}

func TestCallbacksSelectTheConfig(t *testing.T) {
	server, client := tlstest.Configs(tls.VersionTLS13)
	addresses := &peerConn{}
	server.GetConfigForClient = func(info *tls.ClientHelloInfo) (*tls.Config, error) {
		if info.Conn.RemoteAddr() != addresses.RemoteAddr() || info.Conn.LocalAddr() != addresses.LocalAddr() {
			t.Error("the addresses differ")
		}
		if info.ServerName != "other.example" {
			return nil, nil
		}
		other := &tls.Config{Certificates: []tls.Certificate{tlstest.Identities()[1].Certificate}}
		return other, nil
	}
	for name, want := range map[string]int{"server.example": 0, "other.example": 1} {
		client := client.Clone()
		client.ServerName, client.RootCAs = name, tlstest.Identities()[want].Pool
		s, c, err := pair(Options{Config: server, Addresses: addresses}, Options{Config: client})
		if err != nil {
			t.Fatal(err)
		}
		if cn := c.ConnectionState().PeerCertificates[0].Subject.CommonName; cn != tlstest.Identities()[want].Certificate.Leaf.Subject.CommonName || s.ConnectionState().ServerName != name {
			t.Errorf("%s: the certificate is of %s", name, cn)
		}
	}
}

func TestAnUnknownCertificateEndsBothHandshakes(t *testing.T) {
	server, client := tlstest.Configs(tls.VersionTLS13)
	client.RootCAs = tlstest.Identities()[1].Pool
	r := newRig(t, Options{Config: client, Client: true}, -1, nil)
	peer := r.other(server, false)
	result := make(chan error, 1)
	go func() { result <- peer.Handshake() }()
	r.until(func() bool { return false })
	if _, ok := errors.AsType[*tls.CertificateVerificationError](r.err); !ok {
		t.Errorf("the client: %v", r.err)
	}
	if err := <-result; err == nil || !strings.Contains(err.Error(), "remote error: tls: ") {
		t.Errorf("the server: %v", err)
	}
}

// TestAbortAtAnyTimeIsReportedOnce: Abort at random times of a handshake whose goroutine runs.
func TestAbortAtAnyTimeIsReportedOnce(t *testing.T) {
	testkit.CheckLeaks(t)
	server, client := tlstest.Configs(tls.VersionTLS13)
	pool := NewPool(PoolConfig{MaxInProgress: 2})
	for i := range 100 {
		r := newRig(t, Options{Config: server, Pool: pool}, -1, nil)
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			r.other(client, true).Handshake()
		}()
		turns := 0
		r.until(func() bool {
			if turns++; turns > i%8 {
				for range i {
					runtime.Gosched()
				}
				r.c.Abort(io.ErrClosedPipe)
				r.c.Abort(io.EOF)
			}
			return r.done
		})
		if r.err != nil && r.err != io.ErrClosedPipe {
			t.Fatal(r.err)
		}
		r.c.Abort(io.EOF)
		if r.c.handshake != nil {
			if p := r.c.Step(nil); p.Done {
				t.Fatal("Done is returned twice")
			}
		}
		r.peer.Close()
		<-ended
	}
}
