package dns

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/pollux-io/pollux/internal/exchange/exchangetest"
	"github.com/pollux-io/pollux/loop"
	"github.com/pollux-io/pollux/loop/looptest"
)

// A fate is what becomes of a connection attempt, or of the queries of a type.
type fate uint8

const (
	opens   fate = iota // or: addresses are the answer
	refuses             // or: the server fails
	vanishes
	empty // the answer has no address
)

// A response is a fate, and how long it takes.
type response struct {
	fate
	after time.Duration
}

// A happyTest is a name with addresses of both families, 2001:db8:1::1 and so on and 10.1.0.1 and so on.
type happyTest struct {
	v6, v4  []response // of attempts to connect
	aaaa, a response   // of the queries
}

func (s *happyTest) addr6(i int) string { return fmt.Sprintf("2001:db8:1::%d", i+1) }
func (s *happyTest) addr4(i int) string { return fmt.Sprintf("10.1.0.%d", i+1) }

// An attemptAt is a SYN, and when it was sent after the dial began.
type attemptAt struct {
	addr string
	at   time.Duration
}

// A happyRun is a happyTest that runs.
type happyRun struct {
	*testResolver
	dialer  Dialer
	began   time.Time
	fates   map[string]response
	syns    []attemptAt
	accepts int
}

// latest is how late the timers of a loop may be, on the virtual clock.
const latest = 3 * time.Millisecond

func (s *happyTest) dns(t Type) response {
	if t == TypeAAAA {
		return s.aaaa
	}
	return s.a
}

// run runs f with the network of the test.
func (s *happyTest) run(t *testing.T, f func(h *happyRun)) {
	t.Helper()
	z := zone{"target.": nil}
	fates := map[string]response{}
	for i, o := range s.v6 {
		fates[s.addr6(i)] = o
	}
	for i, o := range s.v4 {
		fates[s.addr4(i)] = o
	}
	for addr := range fates {
		z["target."] = append(z["target."], addr)
	}
	slices.Sort(z["target."])
	server := &exchangetest.Server{UDP: func(q []byte) []exchangetest.Message {
		switch _, typ := questionOf(q); s.dns(typ).fate {
		case refuses:
			return []exchangetest.Message{exchangetest.AnswerTo(q).Rcode(2)}
		case empty:
			return []exchangetest.Message{zone{"target.": nil}.answer(q)}
		}
		return z.udp(q)
	}}
	onResolver(t, Config{}, files{}, func(r *testResolver) {
		h := &happyRun{testResolver: r, dialer: Dialer{Resolver: r.Resolver}, fates: fates, began: time.Now()}
		for addr, o := range fates {
			host := r.Network.Host(netip.MustParseAddr(addr))
			if o.fate == refuses {
				continue
			}
			ln := must(host.Listen("tcp", ":80"))
			r.T.Cleanup(func() { ln.Close() })
		}
		r.Network.SetRule(func(seg *looptest.Segment) looptest.Verdict { return h.rule(s, seg) })
		f(h)
		h.checkNothingIsLeft()
	}, server)
}

func (h *happyRun) rule(s *happyTest, seg *looptest.Segment) looptest.Verdict {
	var o response
	switch {
	case seg.Kind == looptest.Datagram && seg.To.Port() == 53:
		_, typ := questionOf(seg.Data)
		o = s.dns(typ)
	case seg.Kind == looptest.SYN:
		if seg.Attempt == 0 {
			h.syns = append(h.syns, attemptAt{seg.To.Addr().String(), time.Since(h.began)})
		}
		o = h.fates[seg.To.Addr().String()]
	default:
		return looptest.Pass
	}
	if o.fate == vanishes {
		return looptest.Drop
	}
	return looptest.Delay(o.after)
}

// dial dials, and checks that done is called once, and accept once at most. It returns the remote address.
func (h *happyRun) dial(ctx context.Context, network string) (string, error) {
	h.T.Helper()
	type result struct {
		c   *loop.Conn
		err error
	}
	results := make(chan result, 2)
	h.accepts, h.syns, h.began = 0, nil, time.Now()
	accept := func(*loop.Conn) loop.Handler { h.accepts++; return sink{make(chan error, 1)} }
	err := h.dialer.DialFunc(ctx, h.Loop, network, "target.:80", accept, func(c *loop.Conn, err error) { results <- result{c, err} })
	if err != nil {
		return "", err
	}
	r := <-results
	want := 0
	if r.c != nil {
		want = 1
	}
	time.Sleep(time.Millisecond)
	if conns := h.Loop.Group().Conns(); conns != want || h.accepts != want || len(results) != 0 {
		h.T.Errorf("%d connections, %d calls of accept, want %d; %d more calls of done", conns, h.accepts, want, len(results))
	}
	if r.c == nil {
		return "", r.err
	}
	defer r.c.Abort()
	return r.c.RemoteAddr().(interface{ AddrPort() netip.AddrPort }).AddrPort().Addr().String(), r.err
}

// checkNothingIsLeft checks that a while after a dial nothing of it is left.
func (h *happyRun) checkNothingIsLeft() {
	h.T.Helper()
	time.Sleep(lateAnswers + latest)
	if flights, waiters := h.flights.InFlight(); flights+waiters != 0 {
		h.T.Errorf("%d queries go on, with %d waiters", flights, waiters)
	}
	time.Sleep(2 * time.Minute) // sockets for DNS are older than socketAge
	if conns, fds := h.Loop.Group().Conns(), h.Client.Descriptors(); conns+fds != 0 {
		h.T.Errorf("%d connections, %d descriptors", conns, fds)
	}
}

// wantSYNs checks the attempts, and their times.
func (h *happyRun) wantSYNs(want []attemptAt) {
	h.T.Helper()
	ok := len(h.syns) == len(want)
	for i := 0; ok && i < len(want); i++ {
		late := h.syns[i].at - want[i].at
		ok = h.syns[i].addr == want[i].addr && late >= 0 && late <= latest
	}
	if !ok {
		h.T.Errorf("attempts %v, want %v", h.syns, want)
	}
}

const ms = time.Millisecond

// The order of attempts, their times and the winner are those of RFC 8305.
func TestHappyEyeballs(t *testing.T) {
	up, refused, dead := []response{{}}, []response{{fate: refuses}}, []response{{fate: vanishes}}
	one6, one4 := "2001:db8:1::1", "10.1.0.1"
	for name, c := range map[string]struct {
		happyTest
		winner string // "" for none
		syns   []attemptAt
	}{
		"both families work":   {happyTest{v6: up, v4: up}, one6, []attemptAt{{one6, 0}}},
		"IPv6 is dead":         {happyTest{v6: dead, v4: up}, one4, []attemptAt{{one6, 0}, {one4, 250 * ms}}},
		"IPv6 refuses":         {happyTest{v6: refused, v4: up}, one4, []attemptAt{{one6, 0}, {one4, 0}}},
		"IPv6 refuses late":    {happyTest{v6: []response{{refuses, 100 * ms}}, v4: up}, one4, []attemptAt{{one6, 0}, {one4, 100 * ms}}},
		"IPv6 is slow":         {happyTest{v6: []response{{opens, 240 * ms}}, v4: up}, one6, []attemptAt{{one6, 0}}},
		"IPv6 is slower":       {happyTest{v6: []response{{opens, 400 * ms}}, v4: []response{{opens, 100 * ms}}}, one4, []attemptAt{{one6, 0}, {one4, 250 * ms}}},
		"IPv4 is slower still": {happyTest{v6: []response{{opens, 400 * ms}}, v4: []response{{opens, 200 * ms}}}, one6, []attemptAt{{one6, 0}, {one4, 250 * ms}}},
		"only IPv4":            {happyTest{v4: up}, one4, []attemptAt{{one4, 0}}},
		"only IPv6":            {happyTest{v6: up}, one6, []attemptAt{{one6, 0}}},
		"all are dead but the last": {
			happyTest{v6: []response{{fate: vanishes}, {fate: vanishes}}, v4: []response{{fate: vanishes}, {}}},
			"10.1.0.2",
			[]attemptAt{{one6, 0}, {one4, 250 * ms}, {"2001:db8:1::2", 500 * ms}, {"10.1.0.2", 750 * ms}},
		},
		"the first of each family is dead": {
			happyTest{v6: []response{{fate: vanishes}, {}}, v4: []response{{fate: vanishes}, {}}},
			"2001:db8:1::2",
			[]attemptAt{{one6, 0}, {one4, 250 * ms}, {"2001:db8:1::2", 500 * ms}},
		},
		"an earlier attempt fails": { // the pace is that of the latest
			happyTest{v6: []response{{refuses, 300 * ms}, {}}, v4: []response{{fate: vanishes}}},
			"2001:db8:1::2",
			[]attemptAt{{one6, 0}, {one4, 250 * ms}, {"2001:db8:1::2", 500 * ms}},
		},
		"all refuse": {
			happyTest{v6: []response{{refuses, 10 * ms}, {refuses, 10 * ms}}, v4: refused},
			"",
			[]attemptAt{{one6, 0}, {one4, 10 * ms}, {"2001:db8:1::2", 10 * ms}},
		},
		"AAAA is a little late":              {happyTest{v6: up, v4: up, aaaa: response{opens, 40 * ms}}, one6, []attemptAt{{one6, 40 * ms}}},
		"AAAA is late":                       {happyTest{v6: up, v4: up, aaaa: response{opens, 60 * ms}}, one4, []attemptAt{{one4, 50 * ms}}},
		"AAAA is late, and IPv4 dead":        {happyTest{v6: up, v4: dead, aaaa: response{opens, 100 * ms}}, one6, []attemptAt{{one4, 50 * ms}, {one6, 300 * ms}}},
		"AAAA is very late, and IPv4 dead":   {happyTest{v6: up, v4: dead, aaaa: response{opens, 700 * ms}}, one6, []attemptAt{{one4, 50 * ms}, {one6, 700 * ms}}},
		"AAAA is late, and IPv4 refuses":     {happyTest{v6: up, v4: refused, aaaa: response{opens, 100 * ms}}, one6, []attemptAt{{one4, 50 * ms}, {one6, 100 * ms}}},
		"AAAA is empty, and a little late":   {happyTest{v4: up, aaaa: response{empty, 20 * ms}}, one4, []attemptAt{{one4, 20 * ms}}},
		"AAAA is silent":                     {happyTest{v6: up, v4: up, aaaa: response{fate: vanishes}}, one4, []attemptAt{{one4, 50 * ms}}},
		"AAAA fails":                         {happyTest{v6: up, v4: up, aaaa: response{fate: refuses}}, one4, []attemptAt{{one4, 0}}},
		"AAAA fails late":                    {happyTest{v6: up, v4: up, aaaa: response{refuses, 100 * ms}}, one4, []attemptAt{{one4, 50 * ms}}},
		"A is late":                          {happyTest{v6: up, v4: up, a: response{opens, 400 * ms}}, one6, []attemptAt{{one6, 0}}},
		"A is late, and IPv6 dead":           {happyTest{v6: dead, v4: up, a: response{opens, 400 * ms}}, one4, []attemptAt{{one6, 0}, {one4, 400 * ms}}},
		"A is a little late, and IPv6 dead":  {happyTest{v6: dead, v4: up, a: response{opens, 100 * ms}}, one4, []attemptAt{{one6, 0}, {one4, 250 * ms}}},
		"A is silent":                        {happyTest{v6: up, v4: up, a: response{fate: vanishes}}, one6, []attemptAt{{one6, 0}}},
		"A is silent, and IPv6 refuses":      {happyTest{v6: refused, v4: up, a: response{fate: vanishes}}, "", []attemptAt{{one6, 0}}},
		"A fails, and IPv6 refuses":          {happyTest{v6: refused, v4: up, a: response{fate: refuses}}, "", []attemptAt{{one6, 0}}},
		"both answers are late, IPv4's more": {happyTest{v6: dead, v4: up, aaaa: response{opens, 30 * ms}, a: response{opens, 90 * ms}}, one4, []attemptAt{{one6, 30 * ms}, {one4, 280 * ms}}},
	} {
		t.Run(name, func(t *testing.T) {
			c.run(t, func(h *happyRun) {
				winner, err := h.dial(h.T.Context(), "tcp")
				if winner != c.winner || (err == nil) != (winner != "") {
					t.Errorf("connected to %q, %v; want %q", winner, err, c.winner)
				}
				h.wantSYNs(c.syns)
			})
		})
	}
}

// The networks tcp4 and tcp6 neither ask for the other family nor wait for it.
func TestDialOneFamily(t *testing.T) {
	s := happyTest{v6: []response{{}}, v4: []response{{}}, aaaa: response{fate: vanishes}}
	s.run(t, func(h *happyRun) {
		if winner, err := h.dial(h.T.Context(), "tcp4"); winner != "10.1.0.1" || err != nil {
			t.Errorf("connected to %q, %v", winner, err)
		}
		h.wantSYNs([]attemptAt{{"10.1.0.1", 0}})
	})
}

// However early or late a dial is canceled: it ends at once, and nothing is left.
func TestDialCanceledAtEachPoint(t *testing.T) {
	s := happyTest{
		v6: []response{{fate: vanishes}, {opens, 100 * ms}}, v4: []response{{fate: vanishes}, {refuses, 30 * ms}},
		aaaa: response{opens, 120 * ms}, a: response{opens, 5 * ms},
	}
	const opensAt = 5*ms + 50*ms + 250*ms + 250*ms + 30*ms + 100*ms // IPv4, IPv6, IPv4, which refuses, IPv6
	won := false
	for at := time.Duration(0); at < 800*ms; at += 9*ms + 137*time.Microsecond {
		s.run(t, func(h *happyRun) {
			ctx, cancel := context.WithTimeoutCause(h.T.Context(), at, errors.New("enough"))
			defer cancel()
			winner, err := h.dial(ctx, "tcp")
			took := time.Since(h.began)
			switch {
			case winner == "":
				if won || !strings.Contains(err.Error(), "enough") || took > at+2*ms {
					t.Errorf("%v after %v, canceled at %v", err, took, at)
				}
			case at < opensAt:
				t.Errorf("connected to %v at %v", winner, took)
			default:
				won = true
			}
		})
	}
	if !won {
		t.Error("no dial has succeeded")
	}
}

// An address for which there is no descriptor is tried again while other attempts go on.
func TestDialWithoutDescriptors(t *testing.T) {
	s := happyTest{v6: []response{{fate: vanishes}}, v4: []response{{}}}
	s.run(t, func(h *happyRun) {
		h.zoneLookup()
		h.Client.SetMaxDescriptors(0)
		if _, err := h.dial(h.T.Context(), "tcp"); !errors.Is(err, syscall.EMFILE) {
			t.Errorf("%v, want EMFILE", err)
		}
		h.Client.SetMaxDescriptors(1)
		time.AfterFunc(600*ms, func() { h.Client.SetMaxDescriptors(100) })
		if winner, err := h.dial(h.T.Context(), "tcp"); winner != "10.1.0.1" || err != nil {
			t.Errorf("connected to %q, %v", winner, err)
		}
		h.wantSYNs([]attemptAt{{"2001:db8:1::1", 0}, {"10.1.0.1", 750 * ms}})
	})
}

// zoneLookup has the addresses in the cache, and no descriptor open.
func (h *happyRun) zoneLookup() {
	h.T.Helper()
	if _, err := h.Lookup(h.T.Context(), "target."); err != nil {
		h.T.Fatal(err)
	}
	time.Sleep(30 * time.Second)
	if fds := h.Client.Descriptors(); fds != 0 {
		h.T.Fatalf("%d descriptors are open", fds)
	}
}
