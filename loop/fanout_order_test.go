package loop

import (
	"math/rand/v2"
	"testing"
)

// While members come and go in the middle of a batch, each that was there at its beginning and has
// not left is visited once.
func TestFanoutVisitsEachMemberOnce(t *testing.T) {
	l := newStandingLoop(t, &noKernel{})
	for seed := range uint64(300) {
		r := rand.New(rand.NewPCG(seed, 0))
		f := NewFanout(FanoutConfig{})
		var in []*Conn
		join := func() {
			c := l.newConn()
			c.phase = open
			if err := f.Add(c); err != nil {
				t.Fatal(err)
			}
			in = append(in, c)
		}
		for range 1 + r.IntN(100) {
			join()
		}
		p := f.parts[0]
		p.active = true // it stays without members
		unvisited := map[*member]bool{}
		for _, m := range p.members {
			unvisited[m] = true
		}
		seen := map[*member]bool{}
		for m := p.nextMember(); m != nil; m = p.nextMember() {
			if seen[m] {
				t.Fatalf("seed %d: a member is visited twice", seed)
			}
			seen[m] = true
			delete(unvisited, m)
			for range r.IntN(3) {
				if r.IntN(2) == 0 {
					join()
				} else if len(in) > 0 {
					i := r.IntN(len(in))
					delete(unvisited, p.byConn[in[i]])
					if !f.Remove(in[i]) {
						t.Fatal("Remove of a member returned false")
					}
					in[i] = in[len(in)-1]
					in = in[:len(in)-1]
				}
			}
		}
		if len(unvisited) > 0 {
			t.Fatalf("seed %d: %d members were not visited", seed, len(unvisited))
		}
		for i, m := range p.members {
			if m.index != i || p.byConn[m.c] != m || p.members[i] != m {
				t.Fatalf("seed %d: the member at %d has index %d", seed, i, m.index)
			}
		}
		if len(p.members) != len(in) || f.Len() != len(in) || len(p.byConn) != len(in) {
			t.Fatalf("seed %d: %d members, want %d", seed, len(p.members), len(in))
		}
	}
}
