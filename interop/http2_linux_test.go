package interop

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/pollux-io/pollux/internal/testkit"
)

// onHTTP2 runs f with a server of h and its client on each side, over TLS, and in plain text with prior knowledge. dialed
// counts the connections of the client.
func onHTTP2(t *testing.T, h http.HandlerFunc, f func(t *testing.T, client *http.Client, url string, dialed *atomic.Int32)) {
	t.Helper()
	onSides(t, func(t *testing.T, s side) {
		for _, scheme := range []string{"https", "http"} {
			t.Run(scheme, func(t *testing.T) {
				ln := s.listen(t, "tcp")
				var protocols http.Protocols
				server := &http.Server{Handler: h, ReadHeaderTimeout: testkit.Watchdog, Protocols: &protocols}
				var dialed atomic.Int32
				transport := &http.Transport{Protocols: &protocols, DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
					dialed.Add(1)
					return s.DialContext(ctx, network, address)
				}}
				if scheme == "https" {
					server.TLSConfig, transport.TLSClientConfig = tlsConfigs()
					protocols.SetHTTP2(true)
				} else {
					protocols.SetUnencryptedHTTP2(true)
				}
				serve(t, ln, server)
				t.Cleanup(transport.CloseIdleConnections) // before Shutdown
				f(t, &http.Client{Transport: transport}, scheme+"://"+ln.Addr().String(), &dialed)
			})
		}
	})
}

// Many streams of one connection carry bodies both ways at once, each its own, with trailers.
func TestHTTP2Streams(t *testing.T) {
	const streams, bodyBytes = 16, 200_000
	echo := func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Trailer", "Sent")
		n, err := io.Copy(w, r.Body)
		if err != nil {
			t.Error(err)
		}
		w.Header().Set("Sent", fmt.Sprint(n))
	}
	onHTTP2(t, echo, func(t *testing.T, client *http.Client, url string, dialed *atomic.Int32) {
		text := testkit.Text(bodyBytes)
		post := func(offset int) {
			want := text[offset:][:bodyBytes]
			r, err := http.NewRequestWithContext(watchdog(t), http.MethodPost, url, struct{ io.Reader }{bytes.NewReader(want)})
			if err != nil {
				t.Error(err)
				return
			}
			resp, err := client.Do(r)
			if err != nil {
				t.Error(err)
				return
			}
			defer resp.Body.Close()
			got, err := io.ReadAll(resp.Body)
			if err != nil || resp.Proto != "HTTP/2.0" || !bytes.Equal(got, want) || resp.Trailer.Get("Sent") != fmt.Sprint(bodyBytes) {
				t.Errorf("%s: %d bytes, %v, trailers %v, want the %d that were sent", resp.Proto, len(got), err, resp.Trailer, bodyBytes)
			}
		}
		post(0) // so that there is a connection
		var wg sync.WaitGroup
		for i := range streams {
			wg.Go(func() { post(i) })
		}
		wg.Wait()
		if n := dialed.Load(); n != 1 {
			t.Errorf("%d connections, want one", n)
		}
	})
}

// A stream whose context ends is cancelled at the server, and the others of its connection go on.
func TestHTTP2Cancel(t *testing.T) {
	canceled := make(chan error, 1)
	handler := func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/wait" {
			io.WriteString(w, "pollux")
			return
		}
		http.NewResponseController(w).Flush()
		<-r.Context().Done()
		canceled <- r.Context().Err()
	}
	onHTTP2(t, handler, func(t *testing.T, client *http.Client, url string, dialed *atomic.Int32) {
		ctx, cancel := context.WithCancel(watchdog(t))
		defer cancel()
		resp, err := client.Do(must(http.NewRequestWithContext(ctx, http.MethodGet, url+"/wait", nil)))
		if err != nil {
			t.Fatal(err)
		}
		cancel()
		if _, err := io.ReadAll(resp.Body); !errors.Is(err, context.Canceled) {
			t.Errorf("%v, want context.Canceled", err)
		}
		resp.Body.Close()
		if err := <-canceled; !errors.Is(err, context.Canceled) {
			t.Errorf("the server: %v, want context.Canceled", err)
		}
		resp, err = client.Do(must(http.NewRequestWithContext(watchdog(t), http.MethodGet, url, nil)))
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		if body, err := io.ReadAll(resp.Body); err != nil || string(body) != "pollux" || dialed.Load() != 1 {
			t.Errorf("%q, %v, by %d connections, want one", body, err, dialed.Load())
		}
	})
}
