package fetch

import (
	"bytes"
	"io"
	"testing"
)

// A fakeSource counts its calls.
type fakeSource struct{ paused, resumed int }

func (s *fakeSource) Pause() error  { s.paused++; return nil }
func (s *fakeSource) Resume() error { s.resumed++; return nil }

// A full pipe takes what has been delivered, and pauses its source until it is half empty.
func TestFullPipePausesItsSource(t *testing.T) {
	var s fakeSource
	p := newPipe(&s)
	p.attach()
	sent := make([]byte, pipeBytes+1000)
	for i := range sent {
		sent[i] = byte(i % 251)
	}
	p.put(sent[:pipeBytes-1])
	if s.paused != 0 {
		t.Errorf("paused with %d bytes", pipeBytes-1)
	}
	p.put(sent[pipeBytes-1:])
	if s.paused != 1 {
		t.Errorf("paused %d times with %d bytes, want 1", s.paused, len(sent))
	}
	got := make([]byte, 0, len(sent))
	for len(got) < len(sent) {
		n, err := p.Read(got[len(got):min(len(got)+999, len(sent))])
		if err != nil {
			t.Fatal(err)
		}
		got = got[:len(got)+n]
		if len(sent)-len(got) > pipeBytes/2 && s.resumed != 0 {
			t.Fatalf("resumed with %d bytes", len(sent)-len(got))
		}
	}
	if s.resumed != 1 || !bytes.Equal(got, sent) {
		t.Errorf("resumed %d times, want 1; or the bytes differ", s.resumed)
	}
	p.end(io.EOF)
	if n, err := p.Read(got[:1]); n != 0 || err != io.EOF {
		t.Errorf("at the end: %d bytes, %v", n, err)
	}
}
