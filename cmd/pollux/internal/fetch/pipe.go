package fetch

import (
	"io"
	"sync"
)

// pipeBytes is the capacity of a pipe.
const pipeBytes = maxHeadBytes

// A pipe passes bytes from the loop, which never blocks, to a goroutine that does.
// When it is full the loop stops reading, TCP's window closes, and the server
// waits: so a slow disk slows the server, and memory is bounded.
type pipe struct {
	onSpace func() // called by the reader when there is space after free has returned 0

	mu       sync.Mutex
	more     sync.Cond
	buf      []byte
	from     int   // buf[from:] has not been read
	err      error // returned after the bytes in buf; nil while more may come
	attached bool
	wanted   bool // the loop waits for space
}

func newPipe(onSpace func()) *pipe {
	p := &pipe{onSpace: onSpace}
	p.more.L = &p.mu
	return p
}

// attach lets Read block. Until then an empty pipe returns an error, so that parsing a head
// cannot block the loop.
func (p *pipe) attach() {
	p.mu.Lock()
	p.attached = true
	p.mu.Unlock()
}

// free returns how many bytes put may be given. If there is little space, it returns 0,
// and onSpace is called later.
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

// put appends b, which must not be longer than free has returned.
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

// end sets the error that Read returns after the bytes: io.EOF, or a failure.
func (p *pipe) end(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.err == nil {
		p.err = err
	}
	p.more.Broadcast()
}

// abort drops the bytes: Read returns err immediately.
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
		p.onSpace()
	}
	return n, nil
}
