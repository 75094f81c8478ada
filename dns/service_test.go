package dns

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
)

// The chance of an SRV record is that of RFC 2782, and a lower priority is always before a higher one.
func TestByPrioritySRV(t *testing.T) {
	a := Answer{Type: TypeSRV, Records: []Record{
		{Type: TypeCNAME, Target: "alias."},
		{Type: TypeSRV, Target: "last.", Preference: 2, Weight: 65535},
		{Type: TypeSRV, Target: "three.", Preference: 1, Weight: 3},
		{Type: TypeSRV, Target: "zero.", Preference: 1, Weight: 0},
		{Type: TypeSRV, Target: "six.", Preference: 1, Weight: 6},
	}}
	before := slices.Clone(a.Records)
	r := rand.New(rand.NewPCG(1, 2782))
	const rounds = 10_000
	firsts, seconds := map[string]int{}, map[string]int{}
	for range rounds {
		records := byPriority(&a, r.IntN)
		if len(records) != 4 || records[3].Target != "last." {
			t.Fatalf("%+v", records)
		}
		firsts[records[0].Target]++
		if records[0].Target == "six." {
			seconds[records[1].Target]++
		}
	}
	// A number from 0 to 9: 0 chooses zero, 1 to 3 three, and 4 to 9 six; then, without six, from 0 to 3.
	check := func(what string, got map[string]int, total int, want map[string]float64) {
		for target, share := range want {
			if n := float64(got[target]) / float64(total); n < share-0.02 || n > share+0.02 {
				t.Errorf("%s is %s in %.3f of the calls, want %.3f", target, what, n, share)
			}
		}
	}
	check("first", firsts, rounds, map[string]float64{"zero.": 0.1, "three.": 0.3, "six.": 0.6})
	check("second", seconds, firsts["six."], map[string]float64{"zero.": 0.25, "three.": 0.75})
	if fmt.Sprint(a.Records) != fmt.Sprint(before) {
		t.Error("the records of the answer have changed, which others share")
	}
}

// MX records of one preference are in a random order, and others as they came.
func TestByPriorityOthers(t *testing.T) {
	a := Answer{Type: TypeMX}
	for i, preference := range []uint16{20, 10, 10, 10} {
		a.Records = append(a.Records, Record{Type: TypeMX, Preference: preference, Target: fmt.Sprint(i)})
	}
	r := rand.New(rand.NewPCG(1, 5321))
	orders := map[string]int{}
	for range 6000 {
		order := ""
		for _, rec := range byPriority(&a, r.IntN) {
			order += rec.Target
		}
		orders[order]++
	}
	for _, order := range []string{"1230", "1320", "2130", "2310", "3120", "3210"} {
		if n := orders[order]; n < 850 || n > 1150 {
			t.Errorf("%d of 6,000 are %s, want a sixth", n, order)
		}
	}
	a = Answer{Type: TypeNS, Records: []Record{{Type: TypeNS, Target: "b."}, {Type: TypeNS, Target: "a."}}}
	if got := a.ByPriority(); len(got) != 2 || got[0].Target != "b." {
		t.Errorf("%+v", got)
	}
	a = Answer{Type: TypeCNAME, Records: []Record{{Type: TypeCNAME, Target: "b."}}}
	if got := a.ByPriority(); len(got) != 1 {
		t.Errorf("%+v", got)
	}
	if got := (&Answer{Type: TypeSRV}).ByPriority(); len(got) != 0 {
		t.Errorf("%+v", got)
	}
}
