package parkhttp_test

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pollux-io/pollux/internal/testkit"
	"github.com/pollux-io/pollux/loop"
	"github.com/pollux-io/pollux/loop/looptest"
)

// Random requests, pipelined and split, with pauses that end while connections are parked and woken, get their answers in
// order.
func TestModel(t *testing.T) { testModel(t, 60, newRig, (*rig).dial) }

// The same with TLS below the listener.
func TestModelTLS(t *testing.T) { testModel(t, 20, newTLSRig, (*rig).dialTLS) }

// A serveFunc serves echoes, as newRig does.
type serveFunc = func(t *testing.T, g *loop.Group, configure func(*http.Server)) *rig

func testModel(t *testing.T, runs int, serve serveFunc, dial func(*rig) *client) {
	if testkit.Long() {
		runs *= 50
	}
	wakes := 0
	for seed := range runs {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			a := looptest.Adversity{}
			if seed%2 == 1 {
				a = looptest.Adverse()
			}
			inBubble(t, looptest.Config{Seed: uint64(seed), Adversity: a}, func(t *testing.T, g *loop.Group) {
				wakes += runModel(t, g, rand.New(rand.NewPCG(uint64(seed), 16)), serve, dial)
			})
		})
	}
	if wakes < runs {
		t.Errorf("%d connections were woken in %d runs: the test checks nothing", wakes, runs)
	}
}

// runModel runs clients, and returns how many connections were woken.
func runModel(t *testing.T, g *loop.Group, r *rand.Rand, serve serveFunc, dial func(*rig) *client) (wakes int) {
	x := serve(t, g, func(s *http.Server) {
		slow := time.Duration(r.IntN(2)) * parkAfter
		s.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			time.Sleep(slow)
			echo(w, r)
		})
	})
	var wg sync.WaitGroup
	for range 1 + r.IntN(3) {
		c := dial(x)
		r := rand.New(rand.NewPCG(r.Uint64(), 0))
		requests, answers := drawRequests(r)
		wg.Go(func() {
			for _, part := range split(r, requests) {
				c.send(part)
				time.Sleep(parkAfter*time.Duration(r.IntN(6)) + time.Duration(r.IntN(12)-6)*time.Nanosecond)
			}
		})
		wg.Go(func() {
			for _, body := range answers {
				c.expect(body)
			}
		})
	}
	wg.Wait()
	x.mu.Lock()
	defer x.mu.Unlock()
	for _, s := range x.states {
		if s == "woken" {
			wakes++
		}
	}
	return wakes
}

// parkAfter is the interval of the sweeps that park.
const parkAfter = 100 * time.Millisecond

// drawRequests returns up to ten requests and their answers.
func drawRequests(r *rand.Rand) (requests string, answers []string) {
	for i := range 1 + r.IntN(10) {
		path := fmt.Sprintf("/%d", i)
		switch r.IntN(3) {
		case 0:
			requests += get(path)
			answers = append(answers, "GET "+path+" ")
		case 1:
			body := strings.Repeat("b", r.IntN(20))
			requests += post(path, body)
			answers = append(answers, "POST "+path+" "+body)
		case 2:
			body := strings.Repeat("c", 1+r.IntN(6000))
			requests += fmt.Sprintf("PUT %s HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n", path, len(body), body)
			answers = append(answers, "PUT "+path+" "+body)
		}
	}
	return requests, answers
}

// split splits s, often at the end of a line or of a request.
func split(r *rand.Rand, s string) (parts []string) {
	for s != "" {
		n := 1 + r.IntN(len(s))
		switch r.IntN(6) {
		case 0, 4, 5:
			if i := strings.Index(s, "\r\n\r\n"); i >= 0 {
				n = i + 4
			}
		case 1:
			if i := strings.Index(s, "\r\n"); i >= 0 {
				n = i + 2
			}
		case 2:
			n = min(1+r.IntN(5), len(s))
		}
		parts, s = append(parts, s[:n]), s[n:]
	}
	return parts
}
