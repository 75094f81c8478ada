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

// asker asks the slow server by net/http, as programs do: by a goroutine for each
// request. It obeys the same rules as the client with the Poll: as many connections are
// opened at once, and the first requests are sent when all are open.
type asker struct {
	work
	http    http.Client
	opening chan struct{}
	meter   *meter
	first   int // requests that wait for each other

	mu       sync.Mutex
	figures  Figures
	waiting  int // first requests that are ready to be sent, or have failed
	released chan struct{}
}

// askWithHTTP asks the slow server by net/http.
func askWithHTTP(w work) *Figures {
	a := &asker{
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

func (a *asker) ask(delay time.Duration) error {
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

func (a *asker) failed(err error) {
	a.mu.Lock()
	a.figures.fail(err)
	a.mu.Unlock()
	a.arrive()
}

func (a *asker) dial(ctx context.Context, network, address string) (net.Conn, error) {
	a.opening <- struct{}{}
	defer func() { <-a.opening }()
	var d net.Dialer
	c, err := d.DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	return &heldConn{Conn: c, asker: a}, nil
}

// A heldConn does not send before all of the first are ready to.
type heldConn struct {
	net.Conn
	asker *asker
	sent  bool // only by its goroutine that writes
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

// arrive counts a request that is ready to be sent. The last one measures, and releases
// them all.
func (a *asker) arrive() {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.waiting++; a.waiting == a.first {
		a.meter.measure(&a.figures, a.first-a.figures.Failed)
		close(a.released)
	}
}
