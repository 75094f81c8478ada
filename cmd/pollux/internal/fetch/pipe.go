package fetch

import (
	"io"
	"sync"
)

// pipeBytes is how much of a body may wait for its goroutine.
const pipeBytes = maxHeadBytes

// A pipe takes bytes from the loop, which never blocks, to a goroutine that does.
// When it is full the loop stops reading, TCP's window closes, and the server
// waits: so a slow disk slows the server, and memory stays bounded.
type pipe struct {
	room func() // called, by the reader, when there is room again after there was none

	mu       sync.Mutex
	more     sync.Cond
	buf      []byte
	from     int   // buf[from:] has not been read
	err      error // what comes behind buf; nil while the connection lives
	attached bool
	wanted   bool // the loop waits for room
}

func newPipe(room func()) *pipe {
	p := &pipe{room: room}
	p.more.L = &p.mu
	return p
}

// attach lets Read block. Until then it fails, so that the loop cannot be blocked
// by parsing a head.
func (p *pipe) attach() {
	p.mu.Lock()
	p.attached = true
	p.mu.Unlock()
}

// free says how much put may be given. When there is little room it says none,
// and room is called later.
func (p *pipe) free() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := pipeBytes - (len(p.buf) - p.from)
	p.wanted = n < pipeBytes/4
	if p.wanted {
		return 0
	}
	return n
}

// put adds b, which must not be longer than free said.
func (p *pipe) put(b []byte) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.err != nil {
		return
	}
	if p.from > 0 && len(p.buf)+len(b) > cap(p.buf) {
		p.buf = p.buf[:copy(p.buf, p.buf[p.from:])]
		p.from = 0
	}
	p.buf = append(p.buf, b...)
	p.more.Signal()
}

// end says what comes behind the bytes: io.EOF, or a failure.
func (p *pipe) end(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.err == nil {
		p.err = err
	}
	p.more.Broadcast()
}

// abort drops the bytes: Read returns err at once.
func (p *pipe) abort(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.buf, p.from, p.err = nil, 0, err
	p.more.Broadcast()
}

// Read implements io.Reader, for one goroutine.
func (p *pipe) Read(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for p.from == len(p.buf) {
		switch {
		case p.err != nil:
			return 0, p.err
		case !p.attached:
			return 0, io.ErrUnexpectedEOF
		}
		p.more.Wait()
	}
	n := copy(b, p.buf[p.from:])
	p.from += n
	if p.from == len(p.buf) {
		p.buf, p.from = p.buf[:0], 0
	}
	if p.wanted && len(p.buf)-p.from <= pipeBytes/2 {
		p.wanted = false
		p.room()
	}
	return n, nil
}
