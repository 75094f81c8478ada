package main

import (
	"errors"
	"log"
	"time"

	"github.com/pollux-io/pollux/loop"
)

// --max-memory bounds the total memory of
//
//   - the data: keys, values, and entryBytes for each key;
//   - incomplete commands: their bytes, and the spans of their arguments;
//   - unsent replies.
//
// A command that would store more, or that is longer than the free memory, is refused by an
// error reply: a long one as soon as its length is announced, and its bytes are skipped
// as they are received, so that the connection stays open. Replies may exceed the bound by a
// quarter, or a full store could not be read; above that, connections of clients that do not
// read their replies are aborted, those that send the most requests first.
//
// Not counted are freeInput and freeOutput of each connection (so that connections without a
// long command are never affected), a loop's scratch memory, and garbage that Go's collector has
// not freed yet.
const (
	freeInput  = 1 << 10
	freeOutput = 4 << 10
	// outputFraction: replies may exceed the bound by 1/outputFraction of it.
	outputFraction = 4
	// recountInterval is the minimum interval between recounts of unsent replies.
	recountInterval = 10 * time.Millisecond
)

// oom is the reply to a refused command, the same as in Redis.
const oom = "OOM command not allowed when used memory > 'maxmemory'."

var (
	errOOM  = errors.New("out of memory (--max-memory): a command was refused that cannot be skipped")
	errSlow = errors.New("out of memory (--max-memory): the client does not read its replies")
)

// held is the counted memory of a session, in bytes.
type held struct{ input, output int64 }

// A memory counts the memory of all sessions; the store counts that of its data. The store's
// lock guards it.
type memory struct {
	max       int64 // 0: no bound
	sum       held
	unsent    map[*session]*loop.Conn // sessions with held.output > 0
	recounted time.Duration           // time of the last recount, by store.now
}

// hold sets the counted memory of a session.
func (s *store) hold(x *session, c *loop.Conn, h held) {
	m := &s.memory
	m.sum.input += h.input - x.held.input
	m.sum.output += h.output - x.held.output
	x.held = h
	if h.output > 0 {
		m.unsent[x] = c
	} else {
		delete(m.unsent, x)
	}
}

// fits reports whether n more bytes are within the bound.
func (s *store) fits(n int) bool {
	return s.memory.max == 0 || s.free() >= int64(n) || s.recount() && s.free() >= int64(n)
}

func (s *store) free() int64 {
	return s.memory.max - s.bytes - s.memory.sum.input - s.memory.sum.output
}

// recount updates the unsent replies of all sessions. It returns false if the last recount
// was less than recountInterval ago.
func (s *store) recount() bool {
	now := s.now()
	if now-s.memory.recounted < recountInterval {
		return false
	}
	s.memory.recounted = now
	for x, c := range s.memory.unsent {
		s.hold(x, c, held{x.held.input, int64(c.Unsent())})
	}
	return true
}

// mustAbort reports whether the connection of a client with unsent bytes must be aborted.
func (s *store) mustAbort(unsent int) bool {
	over := func() bool { return s.free() < 0 && s.memory.sum.output > s.memory.max/outputFraction }
	return unsent > freeOutput && over() && (!s.recount() || over())
}

// dataWithLimit is Data if there is a memory limit.
func (s *session) dataWithLimit(c *loop.Conn, b []byte) (consumed int, err error) {
	db := s.call.db
	db.Lock()
	db.hold(s, c, held{0, int64(c.Unsent())}) // input is 0: a command that stores bytes of b counts them
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
		case !s.in.refuse(): // the command cannot be skipped
			s.call.error(oom)
			c.Write(s.call.take())
			return len(b), errOOM
		}
	}
}

// reserve counts the memory of the session: rest, which is the beginning of a command, and
// replies. It reports whether the command must be refused, or the client is too slow.
func (s *session) reserve(c *loop.Conn, rest []byte) (refused, slow bool) {
	db := s.call.db
	wanted, kept := s.in.wanted(rest)
	unsent := c.Unsent()
	db.Lock()
	defer db.Unlock()
	db.hold(s, c, held{0, int64(unsent)})
	if db.mustAbort(unsent) {
		return false, true
	}
	if !s.paused && !s.in.skipping && wanted+kept > freeInput && !db.fits(wanted+kept) {
		return true, false
	}
	db.hold(s, c, held{int64(len(rest) + kept), int64(unsent)})
	return false, false
}

// Closed releases the memory of the session.
func (s *session) Closed(c *loop.Conn, _ error) {
	db := s.call.db
	if db.memory.max == 0 {
		return
	}
	db.Lock()
	defer db.Unlock()
	db.hold(s, c, held{})
}
