package demo

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"time"
)

// httpAsker sends the requests with net/http, as programs usually do: with a goroutine for
// each. It follows the same rules as the client with the Poll: it opens as many connections
// at the same time, and sends the first requests when all are open.
type httpAsker struct {
	work
	http    http.Client
	opening chan struct{}
	meter   *meter
	first   int // number of requests that wait until all of them are ready

	mu       sync.Mutex
	figures  Figures
	waiting  int // first requests that are ready to be sent, or have failed
	released chan struct{}
}

// runHTTPClient sends the requests of w with net/http.
func runHTTPClient(w work) *Figures {
	a := &httpAsker{
		work: w, opening: make(chan struct{}, maxConnecting), first: min(w.Parallel, w.Requests),
		released: make(chan struct{}),
	}
	a.figures.Requests = w.Requests
	a.http.Transport = &http.Transport{DialContext: a.dial, DisableKeepAlives: true}
	delays := spread(w.Requests, w.Delay)
	slots := make(chan struct{}, a.first)
	a.meter = newMeter()
	var wg sync.WaitGroup
	for _, d := range delays {
		slots <- struct{}{}
		wg.Go(func() {
			if err := a.ask(d); err != nil {
				a.failed(err)
			}
			<-slots
		})
	}
	wg.Wait()
	a.figures.Took = a.meter.took()
	return &a.figures
}

func (a *httpAsker) ask(delay time.Duration) error {
	resp, err := a.http.Get(fmt.Sprintf("http://%s/%s", a.Server, path(delay)))
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("status %d", resp.StatusCode)
	}
	_, err = io.Copy(io.Discard, resp.Body)
	return err
}

func (a *httpAsker) failed(err error) {
	a.mu.Lock()
	a.figures.fail(err)
	a.mu.Unlock()
	a.arrive()
}

func (a *httpAsker) dial(ctx context.Context, network, address string) (net.Conn, error) {
	a.opening <- struct{}{}
	defer func() { <-a.opening }()
	var d net.Dialer
	c, err := d.DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	return &heldConn{Conn: c, asker: a}, nil
}

// A heldConn delays its first write until all of the first requests are ready.
type heldConn struct {
	net.Conn
	asker *httpAsker
	sent  bool // used only by the goroutine that writes
}

// Write implements net.Conn.
func (c *heldConn) Write(b []byte) (int, error) {
	if !c.sent {
		c.sent = true
		c.asker.arrive()
		<-c.asker.released
	}
	return c.Conn.Write(b)
}

// arrive counts a request that is ready to be sent, or has failed. The last one measures,
// and releases all of them.
func (a *httpAsker) arrive() {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.waiting++; a.waiting == a.first {
		a.meter.measure(&a.figures, a.first-a.figures.Failed)
		close(a.released)
	}
}
