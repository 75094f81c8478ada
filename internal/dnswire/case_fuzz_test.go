package dnswire

import "testing"

// RestoreCase changes nothing of what a message states but the case of names, and only messages that Match accepts are
// given to it.
func FuzzRestoreCase(f *testing.F) {
	for _, seed := range seeds(f) {
		f.Add(seed, uint64(0x5a5a5a5a5a5a5a5a))
	}
	f.Fuzz(func(t *testing.T, msg []byte, bits uint64) {
		sent := Sent{Question: fuzzQuestion(msg), Case: Case{bits, bits, bits, bits}}
		if !sent.Question.Name.valid() || !sent.Question.Type.ofData() || len(msg) < headerBytes+len(sent.Question.Name) {
			return
		}
		sent.ID = message(msg).uint16(0)
		random := append([]byte(nil), msg...)
		for i := range len(sent.Question.Name) {
			random[headerBytes+i] = sent.Case.apply(sent.Question.Name[i], i)
		}
		if Match(random, &sent) != Matched {
			return
		}
		want, wantErr := Parse(random, sent.Question)
		RestoreCase(random, &sent)
		got, err := Parse(random, sent.Question)
		if (err == nil) != (wantErr == nil) || got.Kind != want.Kind || got.TTL != want.TTL || len(got.Records) != len(want.Records) || !got.Canonical.EqualFold(want.Canonical) {
			t.Fatalf("%+v, %v; before: %+v, %v", got, err, want, wantErr)
		}
		for i := range got.Records {
			if !got.Records[i].Name.EqualFold(want.Records[i].Name) || !got.Records[i].Target.EqualFold(want.Records[i].Target) {
				t.Fatalf("record %d is %v; before: %v", i, &got.Records[i], &want.Records[i])
			}
		}
	})
}
