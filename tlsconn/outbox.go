package tlsconn

import (
	"github.com/pollux-io/pollux/internal/block"
	"github.com/pollux-io/pollux/internal/driver"
	"github.com/pollux-io/pollux/internal/tlsengine"
)

const (
	// maxSendBytes is how much plaintext a layer encrypts at once. It goes to the driver in one Send.
	maxSendBytes = 4 * tlsengine.MaxPlaintextBytes
	// maxMarks is how many pieces of plaintext, of a record each, that makes at most. (crypto/tls begins a connection
	// with smaller records: then a piece is several.)
	maxMarks = maxSendBytes / tlsengine.MaxPlaintextBytes
)

// An outbox has the ciphertext of one stream that the driver has not taken: records in the order in which they were
// encrypted, as their sequence numbers demand. A layer has one only while there is some.
type outbox struct {
	pool *block.Pool
	// sending is what the driver gets, from off on. While inFlight is set, the driver may read it, so new records go
	// to next.
	sending, next []byte // blocks of pool, or nil
	off           int
	inFlight      bool

	// Positions are counted from the first byte that was put into the outbox.
	put, taken int
	marks      [maxMarks]mark // pieces of plaintext whose records are not all taken, the first one first
	marked     int            // number of marks

	iov [1][]byte
}

// A mark is the end of the records of a piece of plaintext.
type mark struct {
	end   int // position in the outbox
	plain int // bytes
}

// tail returns the buffer for new records, with space for n bytes more. put must follow.
func (o *outbox) tail(n int) []byte {
	b := &o.sending
	if o.inFlight {
		b = &o.next
	}
	*b = grow(o.pool, *b, n)
	return *b
}

// appended replaces the result of tail, which the caller has extended within its capacity.
func (o *outbox) appended(b []byte) {
	to := &o.sending
	if o.inFlight {
		to = &o.next
	}
	o.put += len(b) - len(*to)
	*to = b
}

// append adds a copy of records that carry no plaintext.
func (o *outbox) append(records []byte) {
	o.appended(append(o.tail(len(records)), records...))
}

// mark records that everything up to here has carried n bytes of plaintext since the last mark.
func (o *outbox) mark(n int) {
	o.marks[o.marked] = mark{end: o.put, plain: n}
	o.marked++
}

// empty reports whether the driver has taken all.
func (o *outbox) empty() bool { return o.taken == o.put }

// unsent returns the number of bytes that the driver has not taken.
func (o *outbox) unsent() int { return o.put - o.taken }

// send gives the driver the ciphertext of the outbox, unless a Send is in flight.
func (o *outbox) send(below driver.StreamDriver, s *driver.Stream) error {
	for !o.inFlight && !o.empty() {
		o.iov[0] = o.sending[o.off:]
		n, err := below.Send(s, o.iov[:])
		o.iov[0] = nil
		o.inFlight = err == nil && n < len(o.sending)-o.off
		o.advance(n)
		if err != nil {
			return err
		}
	}
	return nil
}

// sent is the end of a Send that was in flight: the driver has taken n bytes more.
func (o *outbox) sent(n int) {
	o.inFlight = false
	o.advance(n)
}

func (o *outbox) advance(n int) {
	o.taken += n
	o.off += n
	if o.off == len(o.sending) && !o.inFlight {
		release(o.pool, o.sending)
		o.sending, o.next, o.off = o.next, nil, 0
	}
}

// takePlain returns how many bytes of plaintext are in records that the driver has taken since the last call.
func (o *outbox) takePlain() (n int) {
	done := 0
	for done < o.marked && o.marks[done].end <= o.taken {
		n += o.marks[done].plain
		done++
	}
	copy(o.marks[:], o.marks[done:o.marked])
	o.marked -= done
	return n
}

// drop releases all memory. No Send may be in flight.
func (o *outbox) drop() {
	release(o.pool, o.sending)
	release(o.pool, o.next)
	*o = outbox{pool: o.pool}
}

// grow returns b with space for n bytes more, in a block of the pool.
func grow(p *block.Pool, b []byte, n int) []byte {
	if b != nil && cap(b)-len(b) >= n {
		return b
	}
	larger := p.Get(len(b) + n)[:len(b)]
	copy(larger, b)
	release(p, b)
	return larger
}

// release returns a block to the pool, unless it is nil.
func release(p *block.Pool, b []byte) {
	if b != nil {
		p.Put(b[:cap(b)])
	}
}
