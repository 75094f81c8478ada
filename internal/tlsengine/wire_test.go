package tlsengine

import (
	"io"
	"net"
	"sync"
	"time"
)

// stream is bytes in one direction. Its writers never wait.
type stream struct {
	mu      sync.Mutex
	changed sync.Cond
	b       []byte
	ended   bool
	limit   int    // ends after so many bytes, unless negative
	event   func() // called after each change, if set
}

func newStream(limit int, event func()) *stream {
	s := &stream{limit: limit, event: event}
	s.changed.L = &s.mu
	return s
}

func (s *stream) Write(p []byte) (int, error) {
	s.mu.Lock()
	n := len(p)
	if s.limit >= 0 {
		p = p[:min(len(p), s.limit)]
		s.limit -= len(p)
		s.ended = s.ended || s.limit == 0
	}
	s.b = append(s.b, p...)
	s.mu.Unlock()
	s.signal()
	return n, nil
}

func (s *stream) end() {
	s.mu.Lock()
	s.ended = true
	s.mu.Unlock()
	s.signal()
}

func (s *stream) signal() {
	s.changed.Broadcast()
	if s.event != nil {
		s.event()
	}
}

func (s *stream) Read(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for len(s.b) == 0 && !s.ended {
		s.changed.Wait()
	}
	if len(s.b) == 0 {
		return 0, io.EOF
	}
	n := copy(p, s.b)
	s.b = s.b[n:]
	return n, nil
}

// take returns all there is, without waiting.
func (s *stream) take() (b []byte, ended bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	b, s.b = s.b, nil
	return b, s.ended
}

// peerConn is the transport of the other side, which is crypto/tls with goroutines.
type peerConn struct {
	in, out *stream
}

func (c *peerConn) Read(b []byte) (int, error)       { return c.in.Read(b) }
func (c *peerConn) Write(b []byte) (int, error)      { return c.out.Write(b) }
func (c *peerConn) Close() error                     { c.out.end(); c.in.end(); return nil }
func (c *peerConn) LocalAddr() net.Addr              { return noAddr{} }
func (c *peerConn) RemoteAddr() net.Addr             { return noAddr{} }
func (c *peerConn) SetDeadline(time.Time) error      { return nil }
func (c *peerConn) SetReadDeadline(time.Time) error  { return nil }
func (c *peerConn) SetWriteDeadline(time.Time) error { return nil }
