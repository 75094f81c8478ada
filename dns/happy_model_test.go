package dns

import (
	"math"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"testing"
	"time"
)

// A happyModel predicts a race by RFC 8305, from the outcomes alone: the next attempt begins when the latest has
// failed, or has taken the delay.
type happyModel struct {
	*happyTest
	known [2]time.Duration // when the addresses of IPv4 and IPv6 are known: noArrival, if they are not
	ended [2]time.Duration // when the queries end

	attempts []attemptAt
	events   []time.Duration // what happens by itself, to find out whether the order is clear
}

const noArrival = time.Duration(math.MaxInt64)

// timeOfQueries applies the response of a query: one server, asked twice, 5 s each.
func (m *happyModel) timeOfQueries() {
	for i, o := range []response{m.a, m.aaaa} {
		m.known[i] = noArrival
		switch o.fate {
		case opens:
			m.known[i], m.ended[i] = o.after, o.after
		case empty:
			m.ended[i] = o.after
		case refuses:
			m.ended[i] = 2 * o.after
		case vanishes:
			m.ended[i] = 2 * 5 * time.Second
		}
		m.events = append(m.events, m.ended[i])
	}
}

// start returns when the first attempt begins: noArrival, if no query finds addresses.
func (m *happyModel) start() time.Duration {
	t4, t6 := m.known[0], m.known[1]
	switch {
	case t6 < t4:
		return t6
	case t4 == noArrival:
		return noArrival
	}
	m.events = append(m.events, t4+defaultResolutionDelay)
	return min(max(t4, m.ended[1]), t4+defaultResolutionDelay)
}

// run returns the address of the connection, and when it opens; "" if none does.
func (m *happyModel) run() (winner string, opened time.Duration) {
	m.timeOfQueries()
	untried := [2][]response{m.v4, m.v6}
	family := 1 // to try, if it has addresses
	opened = noArrival
	for now := m.start(); now != noArrival && now < opened; {
		for range 2 {
			if len(untried[family]) > 0 && m.known[family] <= now {
				break
			}
			family = 1 - family
		}
		o := untried[family][0]
		addr := [2]func(int) string{m.addr4, m.addr6}[family](len([2][]response{m.v4, m.v6}[family]) - len(untried[family]))
		untried[family] = untried[family][1:]
		family = 1 - family
		m.attempts = append(m.attempts, attemptAt{addr, now})
		next, end := now+defaultAttemptDelay, now+o.after
		m.events = append(m.events, next)
		switch o.fate {
		case opens:
			m.events = append(m.events, end)
			if end < opened {
				winner, opened = addr, end
			}
		case refuses:
			m.events = append(m.events, end)
			next = min(next, end)
		}
		now = max(next, m.nextArrival(&untried))
	}
	return winner, opened
}

// nextArrival returns when the first of the addresses that are not tried is known: noArrival, if there are none.
func (m *happyModel) nextArrival(untried *[2][]response) time.Duration {
	arrival := noArrival
	for i := range untried {
		if len(untried[i]) > 0 {
			arrival = min(arrival, m.known[i])
		}
	}
	return arrival
}

// isClear reports whether no two events are so close that late timers could change their order.
func (m *happyModel) isClear() bool {
	events := slices.Clone(m.events)
	slices.Sort(events)
	for i := 1; i < len(events); i++ {
		if gap := events[i] - events[i-1]; gap > 0 && gap < 4*latest {
			return false
		}
	}
	return true
}

func randomResponse(r *rand.Rand, fates []fate, most time.Duration) response {
	return response{fates[r.IntN(len(fates))], time.Duration(r.Int64N(int64(most)))}
}

func randomHappyTest(r *rand.Rand) *happyTest {
	s := &happyTest{}
	for _, list := range []*[]response{&s.v6, &s.v4} {
		for range r.IntN(4) {
			*list = append(*list, randomResponse(r, []fate{opens, refuses, refuses, vanishes}, 600*ms))
		}
	}
	kinds := []fate{opens, opens, opens, opens, refuses, vanishes, empty}
	s.aaaa, s.a = randomResponse(r, kinds, 400*ms), randomResponse(r, kinds, 400*ms)
	if r.IntN(2) == 0 {
		s.aaaa.after, s.a.after = s.aaaa.after/10, s.a.after/10
	}
	if len(s.v6) == 0 && s.aaaa.fate == opens {
		s.aaaa.fate = empty
	}
	if len(s.v4) == 0 && s.a.fate == opens {
		s.a.fate = empty
	}
	return s
}

// Random races run as an independent model of RFC 8305 predicts: the same attempts at the same times, and the same
// winner.
func TestHappyEyeballsModel(t *testing.T) {
	seed := uint64(1)
	if text := os.Getenv("POLLUX_TEST_SEED"); text != "" {
		seed = must(strconv.ParseUint(text, 10, 64))
	}
	r := rand.New(rand.NewPCG(seed, 8305))
	const races = 200
	for ran := 0; ran < races; {
		s := randomHappyTest(r)
		m := &happyModel{happyTest: s}
		winner, opened := m.run()
		if !m.isClear() {
			continue
		}
		ran++
		s.run(t, func(h *happyRun) {
			got, err := h.dial(h.T.Context(), "tcp")
			took := time.Since(h.began)
			if got != winner || (err == nil) != (winner != "") || winner != "" && (took < opened || took > opened+2*latest) {
				t.Errorf("connected to %q after %v, %v; want %q after %v", got, took, err, winner, opened)
			}
			h.wantSYNs(m.attempts)
		})
		if t.Failed() {
			t.Fatalf("POLLUX_TEST_SEED=%d, race %d: %+v", seed, ran, *s)
		}
	}
}
