package tlsconn_test

import (
	"crypto/fips140"
	"crypto/tls"
	"io"
	"os"
	"testing"

	"github.com/pollux-io/pollux/internal/testkit"
	"github.com/pollux-io/pollux/internal/tlsengine"
	"github.com/pollux-io/pollux/internal/tlsengine/tlstest"
	"github.com/pollux-io/pollux/loop"
	"github.com/pollux-io/pollux/tlsconn"
)

// With GODEBUG=fips140=only, in which everything that FIPS 140 does not approve fails, both sides work, and in place.
func TestFIPS(t *testing.T) {
	if !testkit.IsChild() {
		t.Setenv("GODEBUG", "fips140=only")
	}
	if !testkit.InChild(t) {
		return
	}
	if !fips140.Enabled() {
		t.Fatal("fips140 is not enabled")
	}
	server, client := tlstest.Configs(tls.VersionTLS13)
	client.CurvePreferences = nil
	g := newGroup(t, loop.Config{Loops: 1})
	ln := must(g.Listen("tcp", "127.0.0.1:0", func(*loop.Conn) loop.Handler { return tlsconn.Server(server, echo{}) }))
	defer ln.Close()
	r := newRecorder()
	c, err := tlsconn.Dial(t.Context(), g, "tcp", ln.Addr().String(), client, func(*loop.Conn) loop.Handler { return r })
	if err != nil {
		t.Fatal(err)
	}
	io.WriteString(c, "approved")
	c.CloseWrite()
	if why := <-r.closed; why != nil || string(r.received()) != "approved" {
		t.Errorf("got %q, Closed %v", r.received(), why)
	}
	if s := tlsconn.StatsOf(g); s.InPlace != (os.Getenv(tlsengine.ModeEnv) == "") {
		t.Errorf("Stats: %+v", s)
	}
}
