package dns

import (
	"context"
	"crypto/tls"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/pollux-io/pollux/loop"
	"github.com/pollux-io/pollux/tlsconn"
)

// A handshake is part of the dial. While that of the first connection to open goes on, no other connection opens and no
// attempt begins; if the context ends, nothing is left.
func TestDialCanceledDuringHandshake(t *testing.T) {
	s := happyTest{v6: []response{{after: 400 * ms}, {}}, v4: []response{{}}}
	s.run(t, func(h *happyRun) {
		ctx, cancel := context.WithTimeout(h.T.Context(), time.Second)
		defer cancel()
		var accepted []string
		accept := func(c *loop.Conn) loop.Handler {
			accepted = append(accepted, c.RemoteAddr().String())
			return tlsconn.Client(&tls.Config{ServerName: "target"}, sink{make(chan error, 1)}) // the server is silent
		}
		errs := make(chan error, 2)
		if err := h.dialer.DialFunc(ctx, h.Loop, "tcp", "target.:80", accept, func(_ *loop.Conn, err error) { errs <- err }); err != nil {
			t.Fatal(err)
		}
		if err := <-errs; !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%v, want %v", err, context.DeadlineExceeded)
		}
		if !slices.Equal(accepted, []string{"10.1.0.1:80"}) {
			t.Errorf("accept was called for %v, want the first connection only", accepted)
		}
		h.wantSYNs([]attemptAt{{"2001:db8:1::1", 0}, {"10.1.0.1", 250 * ms}})
	})
}

// A handshake may end after the race was canceled and before its connection is: the connection is closed, as done has been
// called without it.
func TestDialCanceledAtTheEndOfTheHandshake(t *testing.T) {
	onDialTest(t, 0, func(d *dialTest) {
		c, err := d.dial("target.:80")
		if err != nil {
			t.Fatal(err)
		}
		canceled := &race{running: 1, decided: true}
		d.Run(func() { (&attempt{race: canceled, won: true}).ended(c, nil) })
		time.Sleep(time.Second)
		if conns := d.Loop.Group().Conns(); conns != 0 {
			t.Errorf("%d connections are open", conns)
			c.Abort()
		}
	})
}
