package main

import (
	"sync"
	"time"

	"github.com/pollux-io/pollux/loop"
)

// A store is the data: one map under one lock, for any number of loops.
//
// A session takes the lock once for all commands that were received together, so it
// costs little, and commands are atomic, also those with many keys. Receiving, parsing and
// sending, which is most of the work, is distributed over the loops; they wait for each other
// only in the map. A map for each loop, or locks for parts of it, would scale
// further and make MSET difficult: that is not the subject of this example.
//
// Callers of its methods must hold the lock.
type store struct {
	sync.Mutex
	entries map[string]*entry
	bytes   int64                // of keys and values, and entryBytes for each
	memory  memory               // of the sessions, and the limit
	timers  *loop.Loop           // runs the timers of keys that expire
	now     func() time.Duration // since the store was created; monotonic
}

// entry is a key and its value. A timer removes it when it has expired; a timer may be
// some milliseconds late, so get checks the clock too.
type entry struct {
	key     string
	value   []byte
	expires time.Duration // by store.now; 0: never
	timer   *loop.Timer   // nil until the key first gets an expiry time
}

// entryBytes is the approximate memory of an entry in addition to its key and value.
const entryBytes = 96

func newStore(timers *loop.Loop, maxMemory int64) *store {
	began := time.Now()
	return &store{
		entries: map[string]*entry{}, timers: timers,
		memory: memory{max: maxMemory, unsent: map[*session]*loop.Conn{}, recounted: -recountInterval},
		now:    func() time.Duration { return time.Since(began) },
	}
}

// get returns the entry of a key, or nil.
func (s *store) get(key []byte) *entry {
	e := s.entries[string(key)]
	if e != nil && e.expires != 0 && s.expired(e) {
		s.remove(e)
		return nil
	}
	return e
}

// set sets the value of a key. e is the entry that get has returned; it keeps its expiry
// time. If e is nil, set creates an entry.
func (s *store) set(e *entry, key, value []byte) *entry {
	if e == nil {
		e = &entry{key: string(key)}
		s.entries[e.key] = e
		s.bytes += int64(len(key)) + entryBytes
	}
	s.bytes += int64(len(value) - len(e.value))
	if cap(e.value) > 2*len(value)+64 {
		e.value = nil // too large for the new value
	}
	e.value = append(e.value[:0], value...)
	return e
}

func (s *store) remove(e *entry) {
	s.persist(e)
	delete(s.entries, e.key)
	s.bytes -= int64(len(e.key)+len(e.value)) + entryBytes
}

// flush removes everything.
func (s *store) flush() {
	for _, e := range s.entries {
		s.persist(e) // its timer would keep it in memory
	}
	s.entries = map[string]*entry{}
	s.bytes = 0
}

func (s *store) expired(e *entry) bool { return e.expires != 0 && s.now() >= e.expires }

// expire makes an entry expire after d.
func (s *store) expire(e *entry, d time.Duration) {
	if d <= 0 {
		s.remove(e)
		return
	}
	e.expires = s.now() + d
	if e.timer != nil {
		e.timer.Reset(d)
		return
	}
	e.timer = s.timers.AfterFunc(d, func() {
		s.Lock()
		defer s.Unlock()
		// While this waited for the lock, another loop may have replaced the entry, or
		// extended its time.
		if s.entries[e.key] == e && s.expired(e) {
			s.remove(e)
		}
	})
}

// persist removes an entry's expiry time. It returns false if it had none.
func (s *store) persist(e *entry) bool {
	if e.expires == 0 {
		return false
	}
	e.expires = 0
	e.timer.Stop()
	return true
}

// ttl returns the remaining time to live of an entry.
func (s *store) ttl(e *entry) (left time.Duration, expires bool) {
	return e.expires - s.now(), e.expires != 0
}
