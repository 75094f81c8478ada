package netconn_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pollux-io/pollux/loop"
	"github.com/pollux-io/pollux/netconn"
)

// serveHTTP serves mux on a listener until the test ends, and returns a client whose connections are of the same group.
func serveHTTP(t *testing.T, g *loop.Group, ln net.Listener, mux http.Handler) *http.Client {
	t.Helper()
	server := &http.Server{Handler: mux, ErrorLog: log.New(io.Discard, "", 0), ReadHeaderTimeout: time.Minute}
	served := make(chan error, 1)
	go func() { served <- server.Serve(ln) }()
	transport := &http.Transport{DialContext: (&netconn.Dialer{Group: g}).DialContext}
	t.Cleanup(func() {
		transport.CloseIdleConnections()
		if err := server.Shutdown(context.Background()); err != nil {
			t.Error(err)
		}
		if err := <-served; err != http.ErrServerClosed {
			t.Error(err)
		}
	})
	return &http.Client{Transport: transport}
}

// echoBody answers with the body of the request. HTTP/1 must read all of it first.
func echoBody(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	io.Copy(w, struct{ io.Reader }{bytes.NewReader(body)}) // ReadFrom
}

// testMux answers /echo with the body of the request, /chunks with chunks, and /hijack by taking the connection
// over, with an echo.
func testMux(t *testing.T) *http.ServeMux {
	mux := http.NewServeMux()
	mux.HandleFunc("/echo", echoBody)
	mux.HandleFunc("/chunks", func(w http.ResponseWriter, r *http.Request) {
		for i := range 3 {
			fmt.Fprintf(w, "chunk %d\n", i)
			w.(http.Flusher).Flush()
		}
	})
	mux.HandleFunc("/hijack", func(w http.ResponseWriter, r *http.Request) {
		c, rw, err := w.(http.Hijacker).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		defer c.Close()
		if _, ok := c.(*netconn.Conn); !ok {
			t.Errorf("the hijacked connection is a %T, want a *netconn.Conn", c)
		}
		io.WriteString(c, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n")
		io.Copy(c, rw)
	})
	return mux
}

// checkEchoes posts bodies to url in parallel, and fails the test unless each response has the body of its request.
func checkEchoes(t *testing.T, client *http.Client, url string) {
	t.Helper()
	var wg sync.WaitGroup
	for i := range 4 {
		wg.Go(func() {
			for _, size := range []int{0, 1, 4096, 300_000} {
				body := bytes.Repeat([]byte{byte('a' + i)}, size)
				resp, err := client.Post(url, "text/plain", bytes.NewReader(body))
				if err != nil {
					t.Error(err)
					return
				}
				got, err := io.ReadAll(resp.Body)
				if resp.Body.Close(); err != nil || !bytes.Equal(got, body) {
					t.Errorf("%d bytes, %v, want the %d that were sent", len(got), err, size)
				}
			}
		})
	}
	wg.Wait()
}

// net/http serves and asks over connections of a group: bodies of all sizes, kept alive and concurrent.
func TestHTTP(t *testing.T) {
	onBackends(t, func(t *testing.T, g *loop.Group) {
		ln := listen(t, g, "tcp")
		client := serveHTTP(t, g, ln, testMux(t))
		url := "http://" + ln.Addr().String()
		checkEchoes(t, client, url+"/echo")
		resp := must(client.Get(url + "/chunks"))
		got, err := io.ReadAll(resp.Body)
		if resp.Body.Close(); err != nil || string(got) != "chunk 0\nchunk 1\nchunk 2\n" || len(resp.TransferEncoding) == 0 {
			t.Errorf("%q, %v, %v", got, err, resp.TransferEncoding)
		}
	})
}

// Pipelined and split requests, Expect: 100-continue and Hijack, byte for byte.
func TestHTTPWire(t *testing.T) {
	onBackends(t, func(t *testing.T, g *loop.Group) {
		ln := listen(t, g, "tcp")
		serveHTTP(t, g, ln, testMux(t))
		c := must(netconn.Dial(g, "tcp", ln.Addr().String()))
		defer c.Close()
		in := bufio.NewReader(c)
		expect := func(what string) {
			t.Helper()
			resp, err := http.ReadResponse(in, nil)
			if err != nil {
				t.Fatal(err)
			}
			body, err := io.ReadAll(resp.Body)
			if err != nil || string(body) != what {
				t.Fatalf("%q, %v, want %q", body, err, what)
			}
		}
		const request = "POST /echo HTTP/1.1\r\nHost: h\r\nContent-Length: 6\r\n\r\n"
		io.WriteString(c, request+"castor"+request+"pollux"+request+"heleng")
		expect("castor")
		expect("pollux")
		expect("heleng")
		for i := range len(request) {
			c.Write([]byte{request[i]})
		}
		io.WriteString(c, "castor")
		expect("castor")
		io.WriteString(c, strings.Replace(request, "\r\n\r\n", "\r\nExpect: 100-continue\r\n\r\n", 1))
		if line, err := in.ReadString('\n'); err != nil || line != "HTTP/1.1 100 Continue\r\n" {
			t.Fatalf("%q, %v", line, err)
		}
		in.ReadString('\n')
		io.WriteString(c, "pollux")
		expect("pollux")
		// What the client sends right after the request belongs to the other protocol.
		io.WriteString(c, "GET /hijack HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\ncas")
		resp, err := http.ReadResponse(in, nil)
		if err != nil || resp.StatusCode != http.StatusSwitchingProtocols {
			t.Fatalf("%v, %v", resp, err)
		}
		io.WriteString(c, "tor")
		b := make([]byte, 6)
		if _, err := io.ReadFull(in, b); err != nil || string(b) != "castor" {
			t.Fatalf("%q, %v", b, err)
		}
		c.(*netconn.Conn).CloseWrite()
		if n, err := in.Read(b); n != 0 || err != io.EOF {
			t.Errorf("%d, %v, want io.EOF", n, err)
		}
	})
}

// A client that goes away cancels the context of its request: net/http waits for that by a Read, which it ends
// by a deadline.
func TestHTTPCancel(t *testing.T) {
	onBackends(t, func(t *testing.T, g *loop.Group) {
		ln := listen(t, g, "tcp")
		began, canceled := make(chan bool), make(chan bool)
		mux := http.NewServeMux()
		mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
			close(began)
			<-r.Context().Done()
			close(canceled)
		})
		serveHTTP(t, g, ln, mux)
		c := must(netconn.Dial(g, "tcp", ln.Addr().String()))
		io.WriteString(c, "GET / HTTP/1.1\r\nHost: h\r\n\r\n")
		<-began
		c.Close()
		<-canceled
	})
}

// crypto/tls runs over a Listener and a Dialer, and net/http speaks HTTP/2 over that.
func TestTLS(t *testing.T) {
	onBackends(t, func(t *testing.T, g *loop.Group) {
		certs := httptest.NewUnstartedServer(nil) // for its certificate
		certs.StartTLS()
		certs.Close()
		roots := certs.Client().Transport.(*http.Transport).TLSClientConfig.RootCAs
		ln := listen(t, g, "tcp")
		server := &http.Server{
			Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.TLS == nil {
					t.Error("the request has no TLS")
				}
				echoBody(w, r)
			}),
			TLSConfig: &tls.Config{Certificates: certs.TLS.Certificates, NextProtos: []string{"h2", "http/1.1"}},
			ErrorLog:  log.New(io.Discard, "", 0), ReadHeaderTimeout: time.Minute,
		}
		served := make(chan error, 1)
		go func() { served <- server.Serve(tls.NewListener(ln, server.TLSConfig)) }()
		for _, h2 := range []bool{true, false} {
			transport := &http.Transport{
				DialContext:     (&netconn.Dialer{Group: g}).DialContext,
				TLSClientConfig: &tls.Config{RootCAs: roots, ServerName: "example.com"}, ForceAttemptHTTP2: h2,
			}
			want := map[bool]string{true: "HTTP/2.0", false: "HTTP/1.1"}[h2]
			body := bytes.Repeat([]byte("pollux"), 100_000)
			resp, err := (&http.Client{Transport: transport}).Post("https://"+ln.Addr().String(), "text/plain", bytes.NewReader(body))
			if err != nil {
				t.Fatal(err)
			}
			got, err := io.ReadAll(resp.Body)
			if resp.Body.Close(); err != nil || !bytes.Equal(got, body) || resp.Proto != want {
				t.Errorf("%d bytes by %s, %v, want %d by %s", len(got), resp.Proto, err, len(body), want)
			}
			transport.CloseIdleConnections()
		}
		if err := server.Shutdown(context.Background()); err != nil {
			t.Error(err)
		}
		if err := <-served; err != http.ErrServerClosed {
			t.Error(err)
		}
	})
}
