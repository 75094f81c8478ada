package exchange

import (
	"encoding/binary"
	"fmt"
	"net/netip"

	"github.com/pollux-io/pollux/internal/exchange/exchangetest"
)

// wire builds responses that exchangetest.AnswerTo does not.
type wire struct{ b exchangetest.Message }

// respond begins a response to a query: header and question.
func respond(query []byte) *wire { return &wire{exchangetest.AnswerTo(query)} }

// pointer is the name of the question, compressed.
var pointer = []byte{0xc0, exchangetest.QuestionOffset}

// record appends a record to the answer section.
func (w *wire) record(owner []byte, typ, class uint16, data []byte) *wire {
	b := append(w.b, owner...)
	b = binary.BigEndian.AppendUint16(b, typ)
	b = binary.BigEndian.AppendUint16(b, class)
	b = binary.BigEndian.AppendUint32(b, 60)
	b = binary.BigEndian.AppendUint16(b, uint16(len(data)))
	w.b = append(b, data...)
	binary.BigEndian.PutUint16(w.b[6:], binary.BigEndian.Uint16(w.b[6:])+1)
	return w
}

// address appends an A record.
func (w *wire) address(owner []byte, addr string) *wire {
	return w.record(owner, 1, 1, netip.MustParseAddr(addr).AsSlice())
}

// cname appends a CNAME record.
func (w *wire) cname(owner, target []byte) *wire { return w.record(owner, 5, 1, target) }

// soa appends an SOA record of the root to the authority section, which must be the last one.
func (w *wire) soa() exchangetest.Message {
	answers := w.b[7]
	w.record([]byte{0}, 6, 1, append([]byte{0, 0}, make([]byte, 20)...))
	w.b[7], w.b[9] = answers, 1
	return w.b
}

// extended appends an OPT record with the upper bits of the code.
func (w *wire) extended(code byte) exchangetest.Message {
	w.b[11] = 1
	return append(w.b, 0, 0, 41, 4, 0xd0, code, 0, 0, 0, 0, 0)
}

// label is a name of one label below the root.
func label(format string, args ...any) []byte {
	text := fmt.Sprintf(format, args...)
	return append(append([]byte{byte(len(text))}, text...), 0)
}

// chain returns an answer with so many CNAMEs, of which the last one refers to last; without it, there is an
// address at the end.
func chain(q []byte, n int, last []byte) exchangetest.Message {
	w := respond(q)
	owner := pointer
	for i := range n {
		target := label("alias%d", i)
		if i == n-1 && last != nil {
			target = last
		}
		w.cname(owner, target)
		owner = target
	}
	if last == nil {
		w.address(owner, exchangetest.TrueAddr)
	}
	return w.b
}
