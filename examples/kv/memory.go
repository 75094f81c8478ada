package main

import (
	"errors"
	"log"
	"time"

	"github.com/pollux-io/pollux/loop"
)

// --max-memory bounds the memory as a whole. What counts is
//
//   - the data: keys, values, and entryBytes for each key;
//   - commands that have begun and have not come whole: their bytes, and the places of
//     their arguments;
//   - replies that clients have not taken.
//
// A command that would store more, or that is longer than what is free, is refused by an
// error reply: a long one as soon as its length is announced, and its bytes are passed
// over as they come, so that the connection goes on. Replies may take a quarter more
// than the bound, or a full store could not be read; above it, clients that do not take
// theirs are cut off, the ones that ask most first.
//
// Not counted are freeInput and freeOutput of each connection (so that those without a
// long command never suffer), a loop's scratch memory, and what Go's collector has not
// collected yet.
const (
	freeInput  = 1 << 10
	freeOutput = 4 << 10
	// outputShare: replies may take one part in so many beyond the bound.
	outputShare = 4
	// recountInterval is how often at most clients are asked what they have taken.
	recountInterval = 10 * time.Millisecond
)

// oom is the reply to a command that is refused, as Redis has it.
const oom = "OOM command not allowed when used memory > 'maxmemory'."

var (
	errOOM  = errors.New("a command was refused, and what follows cannot be understood: memory is out")
	errSlow = errors.New("the client does not take its replies, and memory is out")
)

// held is what a session holds of the memory, in bytes.
type held struct{ input, output int64 }

// A memory counts what the store's data and all sessions hold. The store's lock is
// its lock.
type memory struct {
	max       int64 // 0: no bound
	sum       held
	owing     map[*session]*loop.Conn // those with output
	recounted time.Duration           // when, as store.now tells time
}

// hold replaces what a session holds.
func (s *store) hold(x *session, c *loop.Conn, h held) {
	m := &s.memory
	m.sum.input += h.input - x.held.input
	m.sum.output += h.output - x.held.output
	x.held = h
	if h.output > 0 {
		m.owing[x] = c
	} else {
		delete(m.owing, x)
	}
}

// room reports whether n bytes more are within the bound.
func (s *store) room(n int) bool {
	return s.memory.max == 0 || s.free() >= int64(n) || s.recount() && s.free() >= int64(n)
}

func (s *store) free() int64 {
	return s.memory.max - s.bytes - s.memory.sum.input - s.memory.sum.output
}

// recount looks at what clients have taken since they were asked last. It returns false
// if that was just now.
func (s *store) recount() bool {
	now := s.now()
	if now-s.memory.recounted < recountInterval {
		return false
	}
	s.memory.recounted = now
	for x, c := range s.memory.owing {
		s.hold(x, c, held{x.held.input, int64(c.Unsent())})
	}
	return true
}

// tooSlow reports whether a client with so many bytes to take must be cut off.
func (s *store) tooSlow(unsent int) bool {
	over := func() bool { return s.free() < 0 && s.memory.sum.output > s.memory.max/outputShare }
	return unsent > freeOutput && over() && (!s.recount() || over())
}

// bounded is Data where there is a bound.
func (s *session) bounded(c *loop.Conn, b []byte) (consumed int, err error) {
	db := s.call.db
	db.Lock()
	db.hold(s, c, held{0, int64(c.Unsent())}) // the input is in b: a command that stores it counts it
	db.Unlock()
	for {
		n, err := s.answer(c, b[consumed:])
		consumed += n
		if err != nil || s.quit {
			return consumed, err
		}
		rest := b[consumed:]
		switch refused, slow := s.reserve(c, rest); {
		case slow:
			log.Printf("%v: %v", c.RemoteAddr(), errSlow)
			c.Abort()
			return consumed, errSlow
		case !refused:
			return consumed, nil
		case !s.in.refuse(): // it cannot be passed over
			s.call.error(oom)
			c.Write(s.call.take())
			return len(b), errOOM
		}
	}
}

// reserve counts what the session holds now: the beginning of a command, rest, and
// replies. It reports whether the command must be refused, or the client is too slow.
func (s *session) reserve(c *loop.Conn, rest []byte) (refused, slow bool) {
	db := s.call.db
	wanted, kept := s.in.wanted(rest)
	unsent := c.Unsent()
	db.Lock()
	defer db.Unlock()
	db.hold(s, c, held{0, int64(unsent)})
	if db.tooSlow(unsent) {
		return false, true
	}
	if !s.paused && !s.in.skipping && wanted+kept > freeInput && !db.room(wanted+kept) {
		return true, false
	}
	db.hold(s, c, held{int64(len(rest) + kept), int64(unsent)})
	return false, false
}

// Closed gives back what the session held.
func (s *session) Closed(c *loop.Conn, _ error) {
	db := s.call.db
	if db.memory.max == 0 {
		return
	}
	db.Lock()
	defer db.Unlock()
	db.hold(s, c, held{})
}
