package fetch

import (
	"io"
	"sync"
)

// pipeBytes is how many bytes a pipe has before its source pauses. It may have more, by as
// many as the loop delivers at once.
const pipeBytes = 64 << 10

// A source is where the bytes of a pipe come from: a *loop.Conn.
type source interface {
	Pause() error
	Resume() error
}

// A pipe passes bytes from the loop, which never blocks, to a goroutine that does.
// When it is full the source pauses, TCP's window closes, and the server waits: so a slow disk
// slows the server, and memory is bounded.
type pipe struct {
	source source // paused and resumed with mu held: otherwise a Resume could precede its Pause

	mu       sync.Mutex
	more     sync.Cond
	buf      []byte
	from     int   // buf[from:] has not been read
	err      error // returned after the bytes in buf; nil while more may come
	attached bool
	paused   bool // the source
}

func newPipe(s source) *pipe {
	p := &pipe{source: s}
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

// put appends a copy of b, and pauses the source if the pipe is full.
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
	if len(p.buf)-p.from >= pipeBytes {
		p.paused = true
		p.source.Pause() // fails only if nothing more comes
	}
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
	if p.paused && len(p.buf)-p.from <= pipeBytes/2 {
		p.paused = false
		p.source.Resume() // fails only if nothing more comes
	}
	return n, nil
}
