package exchange

import (
	"errors"
	"syscall"
	"time"

	"github.com/pollux-io/pollux/internal/wheel"
	"github.com/pollux-io/pollux/sock"
)

const (
	// sendBatch is how many queries of a socket are sent by one system call.
	sendBatch = 64
	// resendDelay is when queries are sent that the socket had no buffer for.
	resendDelay = 2 * time.Millisecond
	// keptBytes is the capacity that an empty outbox keeps.
	keptBytes = 64 << 10
)

// An outbox has the queries of a socket that are not sent yet: those of one turn of the loop go out together.
// It is bounded by Limits.Queries.
type outbox struct {
	bytes  []byte
	unsent []unsent
	queued bool        // in outgoing.boxes, or retry runs
	retry  wheel.Timer // after ErrWouldBlock
}

// unsent is a query in an outbox. It is stale if t is not on the socket any more, or was sent again.
type unsent struct {
	t   *transmission
	id  uint16
	end int // offset in bytes
}

// outgoing is what an exchanger needs for all outboxes.
type outgoing struct {
	boxes    []*udpSocket // that have something to send
	flushing bool         // flush will be called
	messages [sendBatch]sock.Message
	indexes  [sendBatch]int // in outbox.unsent, of each message
}

// append adds what t sends.
func (o *outbox) append(t *transmission, inFlight *idTable) (err error) {
	if o.bytes, err = t.appendQuery(o.bytes, inFlight); err != nil {
		return err
	}
	o.unsent = append(o.unsent, unsent{t, t.sent.ID, len(o.bytes)})
	return nil
}

// flushLater has the outbox of u sent after the functions that the loop runs now.
func (x *Exchanger) flushLater(u *udpSocket) {
	if u.queued {
		return
	}
	u.queued = true
	o := &x.outgoing
	o.boxes = append(o.boxes, u)
	if !o.flushing {
		o.flushing = true
		x.later(x.flush)
	}
}

func (x *Exchanger) flush() {
	o := &x.outgoing
	o.flushing = false
	n := len(o.boxes)
	for i := range n {
		o.boxes[i].flush() // failures may add others
	}
	left := copy(o.boxes, o.boxes[n:])
	clear(o.boxes[left:])
	o.boxes = o.boxes[:left]
}

// flush sends what is in the outbox.
func (u *udpSocket) flush() {
	u.queued = false
	at, refused := 0, error(nil)
	var failed []*transmission
	var errs []error
	for at < len(u.unsent) && !u.closed {
		sent, next, err := u.sendBatch(at)
		if at = next; err == nil {
			continue
		}
		if errors.Is(err, sock.ErrWouldBlock) {
			u.queued = true
			u.server.x.startAlarm(&u.retry, u.server.x.now()+int64(resendDelay))
			break
		}
		// The error may be that of an earlier query (ECONNREFUSED), and this one was not sent.
		failed, errs = append(failed, sent), append(errs, causeOf(err))
		if errors.Is(err, syscall.ECONNREFUSED) {
			refused = causeOf(err)
		}
	}
	u.dropSent(at)
	if refused != nil {
		u.fail(refused)
	}
	for i, t := range failed {
		if t.socket == u {
			t.fail(errs[i])
		}
	}
}

// sendBatch sends the queries from index at on, as many as one call takes. It returns the index of the next
// one to send. With an error, failed is the query before that, or, if the socket has no buffer, nil.
func (u *udpSocket) sendBatch(at int) (failed *transmission, next int, err error) {
	o := &u.server.x.outgoing
	n := 0
	for ; at < len(u.unsent) && n < sendBatch; at++ {
		e := &u.unsent[at]
		if e.t.socket != u || e.t.sent.ID != e.id {
			continue
		}
		o.messages[n].Data, o.indexes[n] = u.bytes[u.start(at):e.end], at
		n++
	}
	sent := 0
	switch n {
	case 0:
	case 1:
		_, err = u.u.Write(o.messages[0].Data)
	default:
		sent, err = u.u.WriteBatch(o.messages[:n])
	}
	if err == nil {
		return nil, at, nil
	}
	i := o.indexes[sent] // the message with the error
	if errors.Is(err, sock.ErrWouldBlock) {
		return nil, i, err
	}
	return u.unsent[i].t, i + 1, err
}

func (o *outbox) start(i int) int {
	if i == 0 {
		return 0
	}
	return o.unsent[i-1].end
}

// dropSent removes the queries before index n.
func (o *outbox) dropSent(n int) {
	if n < len(o.unsent) {
		start := o.start(n)
		o.bytes = o.bytes[:copy(o.bytes, o.bytes[start:])]
		kept := o.unsent[:copy(o.unsent, o.unsent[n:])]
		for i := range kept {
			kept[i].end -= start
		}
		clear(o.unsent[len(kept):])
		o.unsent = kept
		return
	}
	clear(o.unsent)
	if o.bytes, o.unsent = o.bytes[:0], o.unsent[:0]; cap(o.bytes) > keptBytes {
		o.bytes, o.unsent = nil, nil
	}
}
