package tlsengine

import (
	"context"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"sync"
	"time"
)

// A handshake is what a Conn needs until its handshake has ended. Its goroutine is the only one that uses the
// tls.Conn meanwhile.
type handshake struct {
	conn    *Conn
	pool    *Pool
	place   place // in the pool
	timeout time.Duration
	notify  func()

	mu       sync.Mutex
	wake     sync.Cond // the goroutine waits for input
	in       []byte    // received, not read by crypto/tls
	inRecord int       // bytes of in that belong to the record which crypto/tls reads, 0 before its header
	out      []byte    // written by crypto/tls, not taken by Step
	inEnd    bool      // the peer has sent all
	full     bool      // Feed has reported so, and Step not yet that there is space
	notified bool      // Notify has been called after the last Step
	ended    bool
	result   error // with ended
	reported bool  // Step has returned Done
	timer    *time.Timer
	cancel   context.CancelFunc // non-nil while the goroutine runs
}

func newHandshake(c *Conn, o *Options) *handshake {
	h := &handshake{conn: c, pool: o.Pool, timeout: o.Timeout, notify: o.Notify}
	h.wake.L = &h.mu
	return h
}

// Start begins the handshake. It is called once. If it returns an error, which is ErrTooManyHandshakes, the Conn
// cannot be used.
func (c *Conn) Start() error {
	h := c.handshake
	h.mu.Lock()
	h.timer = time.AfterFunc(h.timeout, func() { h.end(ErrHandshakeTimeout) })
	h.mu.Unlock()
	if h.pool == nil {
		go h.run()
		return nil
	}
	err := h.pool.start(h)
	if err != nil {
		h.end(err)
	}
	return err
}

// Feed passes on bytes that were received, and copies all of them. If it returns true, the caller stops receiving
// until Step returns Receive; so at most MaxHandshakeUnread and one further Feed are held.
func (c *Conn) Feed(b []byte) (full bool) {
	h := c.handshake
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.ended && h.result != nil {
		return false
	}
	h.in = append(h.in, b...)
	h.full = len(h.in) >= MaxHandshakeUnread
	h.wake.Signal()
	return h.full
}

// FeedEnd reports that the peer sends no more. If the handshake needs more, it ends with ErrTruncated.
func (c *Conn) FeedEnd() {
	h := c.handshake
	h.mu.Lock()
	defer h.mu.Unlock()
	h.inEnd = true
	h.wake.Signal()
}

// Abort ends the handshake with the error given, which Step returns. It does nothing if the handshake has ended, and
// may be called at any time.
func (c *Conn) Abort(err error) {
	if c.handshake != nil {
		c.handshake.end(err)
	}
}

// Progress is what Step returns.
type Progress struct {
	// Output has the bytes to send: dst, extended. The last ones, such as an alert, come with Done.
	Output []byte
	// Receive reports that the handshake can hold more, after Feed has returned true.
	Receive bool
	// Done is set exactly once, when the handshake has ended, and Err is why it has failed, or nil.
	Done bool
	Err  error
	// Unread has the received bytes after the handshake, with Done and without Err: they begin with the header of a
	// record, unless Unread is empty.
	Unread []byte
}

// Step returns what the handshake has done since the last call. It may be called at any time before it has returned
// Done; Notify reports when.
func (c *Conn) Step(dst []byte) Progress {
	h := c.handshake
	h.mu.Lock()
	defer h.mu.Unlock()
	h.notified = false
	p := Progress{Output: append(dst, h.out...), Receive: h.full && len(h.in) < MaxHandshakeUnread}
	h.out = nil
	if p.Receive {
		h.full = false
	}
	if !h.ended || h.reported {
		return p
	}
	h.reported = true
	p.Done, p.Err = true, h.result
	if p.Err == nil {
		p.Unread = h.in
		c.begin()
	}
	h.in = nil
	return p
}

// run is the handshake's goroutine.
func (h *handshake) run() {
	var err error
	returned := false
	defer func() {
		if !returned {
			err = newPanicError(recover())
		}
		if h.pool != nil {
			h.pool.leave(h)
		}
		alert, err := alertFor(err)
		h.finish(alert, err)
	}()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	if h.pool != nil {
		h.pool.compute(h)
	}
	h.mu.Lock()
	if h.ended {
		err = h.result
	}
	h.cancel = cancel
	h.mu.Unlock()
	if err == nil {
		err = h.conn.tls.HandshakeContext(ctx)
	}
	if err == nil {
		err = h.conn.choose()
	}
	returned = true
}

// end ends the handshake with an error, unless it has ended. It does not wait for the goroutine, which may be in a
// callback of the Config.
func (h *handshake) end(err error) {
	if !h.finish(nil, err) {
		return
	}
	h.mu.Lock()
	cancel := h.cancel // nil: run has not begun, and finds that the handshake has ended
	h.mu.Unlock()
	if cancel != nil {
		cancel()
	}
	if h.pool != nil {
		h.pool.forget(h)
	}
}

// finish sets the result, if there is none yet, and reports whether it has.
func (h *handshake) finish(alert []byte, err error) bool {
	h.mu.Lock()
	if h.ended {
		h.mu.Unlock()
		return false
	}
	h.ended, h.result = true, err
	h.out = append(h.out, alert...)
	if h.timer != nil {
		h.timer.Stop()
	}
	h.wake.Signal()
	h.notifyAndUnlock()
	return true
}

func (h *handshake) notifyAndUnlock() {
	call := !h.notified
	h.notified = true
	h.mu.Unlock()
	if call {
		h.notify()
	}
}

// read is crypto/tls's Read: at most to the end of the current record. It waits for the record's header, and then
// for any byte of it. While it waits, the pool's worker is free.
func (h *handshake) read(p []byte) (int, error) {
	h.mu.Lock()
	waiting := false
	for !h.ended && !h.inEnd && len(h.in) < h.needed() {
		if waiting || h.pool == nil {
			h.wake.Wait()
			continue
		}
		waiting = true
		h.mu.Unlock()
		h.pool.wait(h)
		h.mu.Lock()
	}
	if waiting && !h.ended {
		h.mu.Unlock()
		h.pool.compute(h)
		h.mu.Lock()
	}
	if h.ended {
		defer h.mu.Unlock()
		return 0, h.result
	}
	if len(h.in) == 0 {
		defer h.mu.Unlock()
		return 0, ErrTruncated
	}
	n := h.takeLocked(p)
	if h.full && len(h.in) < MaxHandshakeUnread {
		h.notifyAndUnlock()
	} else {
		h.mu.Unlock()
	}
	return n, nil
}

// needed returns how many bytes of input there must be for read to return some.
func (h *handshake) needed() int {
	if h.inRecord == 0 {
		return recordHeaderBytes
	}
	return 1
}

func (h *handshake) takeLocked(p []byte) int {
	if h.inRecord == 0 {
		h.inRecord = len(h.in) // the peer ends within a header
		if len(h.in) >= recordHeaderBytes {
			h.inRecord = recordHeaderBytes + int(binary.BigEndian.Uint16(h.in[3:]))
		}
	}
	n := copy(p, h.in[:min(len(h.in), h.inRecord)])
	h.inRecord -= n
	h.in = h.in[n:]
	if len(h.in) == 0 {
		h.in = nil
	}
	return n
}

// write is crypto/tls's Write. What it appends is bounded: the flights of one handshake.
func (h *handshake) write(p []byte) (int, error) {
	h.mu.Lock()
	h.out = append(h.out, p...)
	if h.ended {
		h.mu.Unlock()
		return len(p), nil
	}
	h.notifyAndUnlock()
	return len(p), nil
}

// choose sets up the Conn for records, on the handshake's goroutine. Finding out the mode for the first time takes
// a millisecond.
func (c *Conn) choose() error {
	if c.mode == 0 {
		c.mode, _ = CurrentMode()
	}
	c.maxPayload, c.wireVersion = maxPayload12, c.tls.ConnectionState().Version
	if c.wireVersion == tls.VersionTLS13 {
		c.maxPayload, c.wireVersion = maxPayload13, tls.VersionTLS12 // RFC 8446, section 5.1
	}
	if c.mode == InPlace && fieldsOf(c.tls).rawInput.Len() > 0 {
		return errReadAhead // release would lose it
	}
	return nil
}

var errReadAhead = errors.New("crypto/tls has read more than the handshake")

// begin begins the phase of records, on the caller's goroutine.
func (c *Conn) begin() {
	c.handshake = nil
	if c.mode == InPlace {
		fieldsOf(c.tls).release()
	}
}
