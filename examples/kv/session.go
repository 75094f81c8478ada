package main

import (
	"fmt"
	"log"
	"time"

	"github.com/pollux-io/pollux/loop"
)

// options are the values of the flags.
type options struct {
	loops, maxBulk, maxConns int
	maxMemory                int64
	idleTimeout              time.Duration
}

// server has the state that all sessions share.
type server struct {
	options
	group    *loop.Group
	began    time.Time
	maxReply int // maximum length of the reply to one command, in bytes
	db       *store
	calls    map[*loop.Loop]*call // not modified after newServer
}

const (
	// maxUnsent: while more bytes than this are unsent, a client's commands wait.
	// A client that does not read must not fill the memory with replies.
	maxUnsent = 256 << 10
	// batchBytes: replies of at least this length are written before more
	// commands run.
	batchBytes = 64 << 10
)

// maxMaxBulk is Redis's limit; sizes that are computed from it fit into 32 bits.
const maxMaxBulk = 512 << 20

func newServer(o options) (*server, error) {
	if o.maxBulk < 1 || o.maxBulk > maxMaxBulk {
		return nil, fmt.Errorf("--max-bulk %d: give a number of bytes from 1 to %d", o.maxBulk, maxMaxBulk)
	}
	g, err := loop.NewGroup(loop.Config{
		Loops:              o.loops,
		MaxConns:           o.maxConns,
		IdleTimeout:        o.idleTimeout,
		HighWatermarkBytes: maxUnsent,
		MaxUnreadBytes:     maxCommand(o.maxBulk),
		MaxUnsentBytes:     maxUnsent + batchBytes + maxReply(o.maxBulk),
	})
	if err != nil {
		return nil, err
	}
	s := &server{options: o, group: g, began: time.Now(), db: newStore(g.Loops()[0], o.maxMemory), calls: map[*loop.Loop]*call{}}
	s.maxReply = maxReply(o.maxBulk)
	if o.maxMemory > 0 {
		s.maxReply = int(min(int64(s.maxReply), max(o.maxMemory, batchBytes)))
	}
	for _, l := range g.Loops() {
		s.calls[l] = &call{server: s, db: s.db}
	}
	return s, nil
}

// accept returns the handler of a new connection.
func (s *server) accept(c *loop.Conn) loop.Handler {
	return &session{call: s.calls[c.Loop()], in: newParser(s.maxBulk)}
}

// session is the state of a connection between calls of Data. The state during a call is in
// call, which all sessions of a loop share, since callbacks of one loop never run at the same
// time. So an idle client needs little memory.
type session struct {
	call *call
	in   parser
	name string // CLIENT SETNAME
	quit bool

	paused bool // until the client has read its replies
	held   held // guarded by the store's lock
}

// Data runs the commands in b, and leaves an incomplete one.
func (s *session) Data(c *loop.Conn, b []byte) (consumed int, err error) {
	if s.call.server.maxMemory > 0 {
		return s.dataWithLimit(c, b)
	}
	return s.answer(c, b)
}

// answer runs the commands in b and sends their replies. The replies to commands that
// were received together are sent together.
func (s *session) answer(c *loop.Conn, b []byte) (consumed int, err error) {
	for {
		n, full, err := s.batch(b[consumed:])
		consumed += n
		if replies := s.call.take(); len(replies) > 0 {
			if _, err := c.Write(replies); err != nil {
				return consumed, err
			}
		}
		switch {
		case err != nil:
			log.Printf("%v: %v", c.RemoteAddr(), err)
			return len(b), err // closes, once the reply is sent
		case s.quit:
			return len(b), c.Close()
		case !full:
			s.in.trim()
			return consumed, nil
		case c.Unsent() > maxUnsent:
			s.paused = true // until Drained
			return consumed, c.Pause()
		}
	}
}

// Drained continues with the commands that waited until the client has read its replies.
func (s *session) Drained(c *loop.Conn) {
	s.paused = false
	c.Resume()
}

// Shutdown is called when the server shuts down. Received commands have been
// answered; Close sends the unsent replies.
func (s *session) Shutdown(c *loop.Conn) { c.Close() }

// batch runs the commands in b, under one lock, until no complete one is left, or, with full
// true, until their replies have batchBytes.
func (s *session) batch(b []byte) (consumed int, full bool, err error) {
	x := s.call
	x.db.Lock()
	defer x.db.Unlock()
	x.session = s
	for !s.quit {
		if s.in.skipping {
			n, done, err := s.in.skip(b[consumed:])
			consumed += n
			switch {
			case err != nil:
				x.error("ERR " + err.Error())
				return consumed, false, err
			case !done:
				return consumed, false, nil
			}
			x.error(oom)
			continue
		}
		n, err := s.in.next(b[consumed:])
		if err != nil {
			x.error("ERR " + err.Error())
			return consumed, false, err
		}
		if n == 0 {
			return consumed, false, nil
		}
		x.b, x.args = s.in.bytes(b[consumed:consumed+n]), s.in.args
		consumed += n
		if len(x.args) > 0 {
			x.run()
		}
		if len(x.reply.b) >= batchBytes {
			return consumed, true, nil
		}
	}
	return consumed, false, nil
}
