package fetch

import (
	"bufio"
	"context"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/pollux-io/pollux/cmd/pollux/internal/faultserver"
	"github.com/pollux-io/pollux/loop/looptest"
)

// The time limit for connecting includes the handshake; without it, that for silence does.
func TestSilenceDuringTheHandshake(t *testing.T) {
	for name, limit := range map[string]func(*bench){
		"connect": func(b *bench) { b.Connect, b.Idle = time.Second, time.Hour },
		"idle":    func(b *bench) { b.Connect, b.Idle = 0, time.Second },
	} {
		t.Run(name, func(t *testing.T) {
			onSimulation(t, nil, func(b *simBench) {
				limit(b.bench)
				b.Retries = 1
				b.six.SetConnectPolicy(looptest.RefuseConnects)
				b.listen(b.four, ":443", func(c net.Conn) {
					go func() {
						defer c.Close()
						io.Copy(io.Discard, c)
					}()
				})
				r, took := b.timed("https://dual.test/")
				const want = "set up TLS with dual.test (10.0.0.2:443): no answer in time; raise --connect-timeout"
				if r.Err == nil || !strings.HasPrefix(r.Err.Error(), want) || r.Tries != 2 || took < 2*time.Second || took > 3*time.Second {
					t.Errorf("%v after %v and %d tries, want %s", r.Err, took, r.Tries, want)
				}
			})
		})
	}
}

// More handshakes than package tlsconn has in progress use up no tries: those that end in favor of others begin again. Here the
// server takes longer than a silent peer may while others are queued.
func TestMoreHandshakesThanPossibleAtOnce(t *testing.T) {
	const transfers = 1024 + 30 // of which tlsconn has 1,024 in progress
	a := faultserver.NewAuthority(t)
	var count int
	onSimulation(t, nil, func(b *simBench) {
		config := serverConfig(a.IssueFor(t, "dual.test"))
		b.Insecure, b.Parallel, b.Connect = true, transfers, time.Minute // the certificate is not valid at the time of a bubble
		b.six.SetConnectPolicy(looptest.RefuseConnects)
		b.listen(b.four, ":443", func(raw net.Conn) {
			count++
			time.AfterFunc(2*time.Second, func() {
				c := tls.Server(raw, config)
				defer c.Close()
				if r, err := http.ReadRequest(bufio.NewReader(c)); err == nil {
					hello(c, r)
				}
			})
		})
		urls := make([]string, transfers)
		for i := range urls {
			urls[i] = "https://dual.test/"
		}
		for _, r := range b.run(t, urls...) {
			if r.Err != nil || r.Tries != 1 {
				b.t.Fatalf("%v after %d tries", r.Err, r.Tries)
			}
		}
		if count == transfers {
			b.t.Error("no handshake has ended in favor of others")
		}
	})
}

// The end of a run ends handshakes that are in progress.
func TestStopDuringTheHandshake(t *testing.T) {
	b, _ := secureBench(t)
	begun := make(chan struct{})
	s := faultserver.Raw(t, func(c *net.TCPConn) {
		var one [1]byte
		io.ReadFull(c, one[:])
		close(begun)
		faultserver.Wait(c)
	})
	ctx, cancel := context.WithCancel(t.Context())
	b.ctx = ctx
	go func() {
		<-begun
		cancel()
	}()
	results, err := b.try(t, at("name.test", s, "/"))
	if err == nil || len(results) != 1 || !Interrupted(results[0].Err) {
		t.Errorf("%v, %d results", err, len(results))
	}
}
