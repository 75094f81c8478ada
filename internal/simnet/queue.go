package simnet

// A queue has the bytes of one direction of a stream that are sent and not acknowledged, or received
// and not read. They are numbered from 0 on.
type queue struct {
	begin int64 // number of the first byte
	buf   []byte
	head  int // index in buf of the first byte
}

// keptCapacity is the largest capacity that an empty queue keeps.
const keptCapacity = 64 << 10

func (q *queue) len() int { return len(q.buf) - q.head }

// end returns the number of the byte after the last one.
func (q *queue) end() int64 { return q.begin + int64(q.len()) }

// append adds bytes.
func (q *queue) append(b []byte) {
	if q.head > 0 && len(q.buf)+len(b) > cap(q.buf) && q.head >= q.len() {
		q.buf = q.buf[:copy(q.buf, q.buf[q.head:])]
		q.head = 0
	}
	q.buf = append(q.buf, b...)
}

// slice returns n bytes from the one with the number first on. It is valid until the next append.
func (q *queue) slice(first int64, n int) []byte {
	i := q.head + int(first-q.begin)
	return q.buf[i : i+n]
}

// discard removes the first n bytes.
func (q *queue) discard(n int) {
	q.begin += int64(n)
	q.head += n
	if q.head < len(q.buf) {
		return
	}
	q.head = 0
	if q.buf = q.buf[:0]; cap(q.buf) > keptCapacity {
		q.buf = nil
	}
}

// read copies the first bytes into the buffers, and returns how many.
func (q *queue) read(bufs [][]byte) (n int) {
	rest := q.buf[q.head:]
	for _, b := range bufs {
		k := copy(b, rest)
		rest = rest[k:]
		n += k
	}
	return n
}
