package netconn_test

import (
	"context"
	"crypto/tls"
	"io"
	"log"
	"net"
	"net/http"
	"testing"
	"time"

	"github.com/pollux-io/pollux/internal/tlsengine/tlstest"
	"github.com/pollux-io/pollux/loop"
	"github.com/pollux-io/pollux/netconn"
	"github.com/pollux-io/pollux/tlsconn"
)

// HTTPS/1.1 of net/http with TLS below the connections of the server, of the client, or of both: bodies of all sizes, kept alive and
// concurrent. Request.TLS is set.
func TestHTTPS(t *testing.T) {
	serverConfig, clientConfig := tlstest.Configs(tls.VersionTLS13)
	onBackends(t, func(t *testing.T, g *loop.Group) {
		mux := http.NewServeMux()
		mux.HandleFunc("/echo", func(w http.ResponseWriter, r *http.Request) {
			if r.TLS == nil || r.TLS.Version != tls.VersionTLS13 || r.ProtoMajor != 1 {
				t.Errorf("%s with TLS %+v", r.Proto, r.TLS)
			}
			echoBody(w, r)
		})
		for _, below := range []struct{ server, client bool }{{true, true}, {true, false}, {false, true}} {
			var ln net.Listener = listenTLS(t, g, "tcp", serverConfig, tlsconn.Options{})
			if !below.server {
				ln = tls.NewListener(listen(t, g, "tcp"), serverConfig)
			}
			transport := &http.Transport{DialContext: (&netconn.Dialer{Group: g}).DialContext, TLSClientConfig: clientConfig}
			if below.client {
				transport.DialTLSContext = (&netconn.Dialer{Group: g, TLSConfig: clientConfig}).DialContext
			}
			askHTTPS(t, ln, mux, transport)
		}
	})
}

// askHTTPS serves mux on ln, and asks it by the transport.
func askHTTPS(t *testing.T, ln net.Listener, mux http.Handler, transport *http.Transport) {
	t.Helper()
	server := &http.Server{Handler: mux, ErrorLog: log.New(io.Discard, "", 0), ReadHeaderTimeout: time.Minute}
	served := make(chan error, 1)
	go func() { served <- server.Serve(ln) }()
	client := &http.Client{Transport: transport}
	checkEchoes(t, client, "https://"+ln.Addr().String()+"/echo")
	transport.CloseIdleConnections()
	if err := server.Shutdown(context.Background()); err != nil {
		t.Error(err)
	}
	if err := <-served; err != http.ErrServerClosed {
		t.Error(err)
	}
}

// A request without TLS has none: a Conn does not have the method from which net/http sets Request.TLS, and which makes it do without
// HTTP/2.
func TestHTTPHasNoTLS(t *testing.T) {
	onBackends(t, func(t *testing.T, g *loop.Group) {
		ln := listen(t, g, "tcp")
		client := serveHTTP(t, g, ln, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			if r.TLS != nil {
				t.Errorf("Request.TLS is %+v, want nil", r.TLS)
			}
		}))
		must(client.Get("http://" + ln.Addr().String())).Body.Close()
	})
}
