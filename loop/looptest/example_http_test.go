package looptest_test

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pollux-io/pollux/loop"
	"github.com/pollux-io/pollux/loop/looptest"
)

// testHTTP puts a relay between an http.Server and an http.Client, on a slow network.
func testHTTP(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := looptest.New(t, looptest.Config{Link: looptest.Link{Latency: 50 * time.Millisecond, SegmentBytes: 100}})
		backend, proxy, client := n.Host(), n.Host(), n.Host()

		ln, err := backend.Listen("tcp", ":80")
		if err != nil {
			t.Fatal(err)
		}
		server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			fmt.Fprintf(w, "%s was here", r.URL.Path)
		})}
		go server.Serve(ln)
		defer server.Close()

		g := proxy.NewGroup(loop.Config{})
		relay, err := loop.RelayTo("tcp", net.JoinHostPort(backend.String(), "80"), loop.RelayConfig{})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := g.Listen("tcp", ":8080", func(*loop.Conn) loop.Handler { return relay }); err != nil {
			t.Fatal(err)
		}

		transport := &http.Transport{DialContext: client.DialContext}
		defer transport.CloseIdleConnections()
		r, err := (&http.Client{Transport: transport}).Get("http://" + proxy.String() + ":8080/Kilroy")
		if err != nil {
			t.Fatal(err)
		}
		defer r.Body.Close()
		if body, err := io.ReadAll(r.Body); string(body) != "/Kilroy was here" || err != nil {
			t.Errorf("the client got %q, %v", body, err)
		}
	})
}

// Host.Listen and Host.Dial return a net.Listener and a net.Conn: a server or a client of another package
// can be the other end.
func Example_http() {
	testHTTP(t)
}
