package parkhttp_test

import (
	"crypto/tls"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/pollux-io/pollux/loop"
	"github.com/pollux-io/pollux/netconn"
	"github.com/pollux-io/pollux/netconn/parkhttp"
)

// HTTP/2 without TLS is served over a listener that parks, and is not parked: also with requests that are far apart. HTTP/1 of the
// same server is, if a connection begins like HTTP/2 or not.
func TestUnencryptedHTTP2(t *testing.T) {
	onSim(t, func(t *testing.T, g *loop.Group) {
		x := newRig(t, g, func(s *http.Server) {
			s.Protocols = new(http.Protocols)
			s.Protocols.SetHTTP1(true)
			s.Protocols.SetUnencryptedHTTP2(true)
			s.ReadTimeout, s.IdleTimeout = time.Minute, time.Hour
		})
		transport := &http.Transport{DialContext: (&netconn.Dialer{Group: g}).DialContext, Protocols: new(http.Protocols)}
		transport.Protocols.SetUnencryptedHTTP2(true)
		for range 3 {
			resp, err := (&http.Client{Transport: transport}).Get("http://" + x.ln.Addr().String() + "/a")
			if err != nil {
				t.Fatal(err)
			}
			if b, err := io.ReadAll(resp.Body); err != nil || string(b) != "GET /a " || resp.ProtoMajor != 2 {
				t.Errorf("%q by %s, %v", b, resp.Proto, err)
			}
			resp.Body.Close()
			time.Sleep(10 * time.Second)
			if x.ln.Parked() != 0 {
				t.Error("the connection is parked")
			}
		}
		transport.CloseIdleConnections()
		for _, method := range []string{"GET", "PUT", "PRIVATE"} {
			c := x.dial()
			c.send(method + " /a HTTP/1.1\r\nHost: h\r\n\r\n")
			c.expect(method + " /a ")
			x.awaitParked(1)
			c.Close()
			x.awaitParked(0)
		}
	})
}

// HTTPS is served over a listener that parks, and is not parked.
func TestTLS(t *testing.T) {
	certs := httptest.NewUnstartedServer(nil) // for its certificate
	certs.StartTLS()
	certs.Close()
	roots := certs.Client().Transport.(*http.Transport).TLSClientConfig.RootCAs
	onSim(t, func(t *testing.T, g *loop.Group) {
		ln := must(netconn.Listen(g, "tcp", "127.0.0.1:0"))
		server := &http.Server{Handler: http.HandlerFunc(echo), TLSConfig: &tls.Config{Certificates: certs.TLS.Certificates}}
		parking := must(parkhttp.Park(server, ln))
		served := make(chan error)
		go func() { served <- server.ServeTLS(parking, "", "") }()
		for _, h2 := range []bool{true, false} {
			transport := &http.Transport{
				DialContext:     (&netconn.Dialer{Group: g}).DialContext,
				TLSClientConfig: &tls.Config{RootCAs: roots, ServerName: "example.com", Time: func() time.Time { return certs.Certificate().NotBefore.Add(time.Hour) }}, ForceAttemptHTTP2: h2,
			}
			for range 2 {
				resp, err := (&http.Client{Transport: transport}).Get("https://" + ln.Addr().String() + "/a")
				if err != nil {
					t.Fatal(err)
				}
				if b, err := io.ReadAll(resp.Body); err != nil || string(b) != "GET /a " || (resp.ProtoMajor == 2) != h2 {
					t.Errorf("%q by %s, %v", b, resp.Proto, err)
				}
				resp.Body.Close()
				time.Sleep(2 * afterParking)
				if n := ln.(*netconn.Listener).Parked(); n != 0 {
					t.Errorf("%d connections are parked", n)
				}
			}
			transport.CloseIdleConnections()
		}
		server.Close()
		<-served
	})
}
