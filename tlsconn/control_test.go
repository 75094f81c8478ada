package tlsconn_test

import (
	"bytes"
	"testing"

	"github.com/pollux-io/pollux/internal/tlsengine/tlstest"
	"github.com/pollux-io/pollux/loop"
	"github.com/pollux-io/pollux/tlsconn"
)

// L5: KeyUpdates cost a turn a bounded number of records, whatever the loop's budget of bytes; other work is done in between, and
// no byte, answer or end is lost, also if the handler pauses meanwhile.
func TestControlRecordsTakeTurns(t *testing.T) {
	const rounds = 600
	raws(t, func(t *testing.T, s side) {
		for _, truncated := range []bool{false, true} {
			h := &turnTaker{recorder: newRecorder()}
			p, _ := s.rawHandshake(t, h)
			conn := <-h.opened
			conn.Pause()
			settle()
			var batch, want []byte
			for i := range rounds {
				batch = append(batch, p.out.Seal(tlstest.TypeApplication, []byte{byte(i)}, 0)...)
				batch = append(batch, p.out.Seal(tlstest.TypeHandshake, tlstest.KeyUpdate(1), 0)...)
				p.out.Update()
				want = append(want, byte(i))
			}
			if !truncated {
				batch = append(batch, p.out.Seal(tlstest.TypeAlert, []byte{1, 0}, 0)...)
			}
			p.Write(batch)
			p.CloseWrite()
			settle()
			conn.Resume()
			for range rounds {
				if kind, payload := p.next(); kind != tlstest.TypeHandshake || !bytes.Equal(payload, tlstest.KeyUpdate(0)) {
					t.Fatalf("got a record of type %d with %v, want the answer to a KeyUpdate", kind, payload)
				}
			}
			why := <-h.closed
			if truncated {
				mustTruncated(t, why)
			} else if why != nil {
				t.Error("Closed got", why)
			}
			if got := h.received(); !bytes.Equal(got, want) {
				t.Errorf("the handler got %d bytes, want %d", len(got), rounds)
			}
			if h.most > tlsconn.MaxControlRecords {
				t.Errorf("%d KeyUpdates were handled without other work of the loop in between, want %d at most", h.most, tlsconn.MaxControlRecords)
			}
		}
	})
}

// A turnTaker counts the most bytes that it gets before a function of the loop runs. It pauses each time.
type turnTaker struct {
	*recorder
	since, most int
	asked       bool
}

func (h *turnTaker) Data(c *loop.Conn, b []byte) (int, error) {
	h.since += len(b)
	h.most = max(h.most, h.since)
	c.Pause()
	if !h.asked {
		h.asked = true
		c.Loop().Run(func() {
			h.since, h.asked = 0, false
			c.Resume()
		})
	}
	return h.recorder.Data(c, b)
}
