package dns

import (
	"cmp"
	"math/rand/v2"
	"slices"
)

// ByPriority returns the records of the answer's type, without aliases, in the order in which to use them: SRV records by
// priority, and among those of one priority at random, by weight (RFC 2782); MX records by preference, and among
// equals at random (RFC 5321, section 5.1); others as they came. Each call chooses anew, and returns a slice of its own.
//
// An SRV record with the target "." means that the service is not available there (RFC 2782), and an MX record that the
// domain takes no mail (RFC 7505).
func (a *Answer) ByPriority() []Record { return byPriority(a, rand.IntN) }

// byPriority is ByPriority with intN, which returns a random number from 0 to n-1.
func byPriority(a *Answer, intN func(n int) int) []Record {
	records := make([]Record, 0, len(a.Records))
	for i := range a.Records {
		if r := &a.Records[i]; r.Type != TypeCNAME || a.Type == TypeCNAME {
			records = append(records, *r)
		}
	}
	if a.Type != TypeSRV && a.Type != TypeMX {
		return records
	}
	slices.SortStableFunc(records, func(r, s Record) int {
		// RFC 2782 has records of weight 0 first, so that they are rarely chosen, but not never.
		return cmp.Or(cmp.Compare(r.Preference, s.Preference), cmp.Compare(r.Weight, s.Weight))
	})
	for rest := records; len(rest) > 0; {
		n := 1 // records of one preference
		for n < len(rest) && rest[n].Preference == rest[0].Preference {
			n++
		}
		shuffle(rest[:n], a.Type, intN)
		rest = rest[n:]
	}
	return records
}

// shuffle orders records of one preference at random.
func shuffle(records []Record, t Type, intN func(n int) int) {
	if t == TypeMX {
		for i := len(records) - 1; i > 0; i-- {
			j := intN(i + 1)
			records[i], records[j] = records[j], records[i]
		}
		return
	}
	sum := 0
	for i := range records {
		sum += int(records[i].Weight)
	}
	for len(records) > 1 {
		chosen, i := intN(sum+1), 0
		for running := int(records[0].Weight); running < chosen; running += int(records[i].Weight) {
			i++
		}
		first := records[i]
		copy(records[1:i+1], records[:i]) // the others keep their order
		records[0] = first
		sum -= int(first.Weight)
		records = records[1:]
	}
}
