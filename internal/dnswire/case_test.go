package dnswire

import "testing"

// Names that are compressed against the question are as they were asked for, and not in the random case of the query.
func TestRestoreCase(t *testing.T) {
	sent := Sent{ID: 7, Question: Question{mustName(t, "wWw.example.com"), TypeMX}, Case: Case{^uint64(0)}}
	query, err := AppendQuery(nil, sent.ID, sent.Question, QueryOptions{Case: sent.Case})
	if err != nil {
		t.Fatal(err)
	}
	msg := append(asResponse(query), "\xc0\x0c\x00\x0f\x00\x01\x00\x00\x00\x3c\x00\x09\x00\x0a\x04mail\xc0\x10"...)
	msg[7] = 1 // answers
	if v := Match(msg, &sent); v != Matched {
		t.Fatal(v)
	}
	for _, want := range []string{"10 mail.EXAMPLE.COM.", "10 mail.example.com."} {
		r, err := Parse(msg, sent.Question)
		if err != nil || len(r.Records) != 1 || r.Records[0].DataString() != want || r.Records[0].Name != sent.Question.Name {
			t.Errorf("%+v, %v; want %s", r.Records, err, want)
		}
		RestoreCase(msg, &sent)
	}
}
