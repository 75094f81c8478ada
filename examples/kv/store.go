package main

import (
	"sync"
	"time"

	"github.com/pollux-io/pollux/loop"
)

// A store is the data: one map under one lock, for any number of loops.
//
// A session takes the lock once for all the commands that have come together, so it
// costs little, and commands are atomic, those with many keys too. Loops share the
// work of receiving, parsing and sending, which is most of it; only in the map they
// wait for each other. A map for each loop, or locks for parts of it, would scale
// further and make MSET hard: that is not what this example is about.
//
// Methods are called with the lock held.
type store struct {
	sync.Mutex
	entries map[string]*entry
	bytes   int64                // of keys and values, and entryBytes for each
	memory  memory               // what else is counted
	timers  *loop.Loop           // runs the timers of keys that expire
	now     func() time.Duration // since the store began; unlike the time of day, it never jumps
}

// entry is a key's value. A timer takes it away when it has expired; a timer may be
// some milliseconds late, so get looks at the clock too.
type entry struct {
	key     string
	value   []byte
	expires time.Duration // as store.now tells time; 0: never
	timer   *loop.Timer   // nil until the key is first given a time to expire
}

// entryBytes is about what a key costs besides its own bytes and its value's.
const entryBytes = 96

func newStore(timers *loop.Loop, maxMemory int64) *store {
	began := time.Now()
	return &store{
		entries: map[string]*entry{}, timers: timers,
		memory: memory{max: maxMemory, owing: map[*session]*loop.Conn{}, recounted: -recountInterval},
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

// set gives a key a value. What e, from get, is already there keeps its time to
// expire; nil makes a new entry.
func (s *store) set(e *entry, key, value []byte) *entry {
	if e == nil {
		e = &entry{key: string(key)}
		s.entries[e.key] = e
		s.bytes += int64(len(key)) + entryBytes
	}
	s.bytes += int64(len(value) - len(e.value))
	if cap(e.value) > 2*len(value)+64 {
		e.value = nil // not worth keeping for so little
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
		s.persist(e) // or its timer would keep it in memory
	}
	s.entries = map[string]*entry{}
	s.bytes = 0
}

func (s *store) expired(e *entry) bool { return e.expires != 0 && s.now() >= e.expires }

// expire has an entry removed after d.
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
		// given it more time.
		if s.entries[e.key] == e && s.expired(e) {
			s.remove(e)
		}
	})
}

// persist takes an entry's time to expire away. It returns false if it had none.
func (s *store) persist(e *entry) bool {
	if e.expires == 0 {
		return false
	}
	e.expires = 0
	e.timer.Stop()
	return true
}

// ttl returns how long an entry has still to live.
func (s *store) ttl(e *entry) (left time.Duration, expires bool) {
	return e.expires - s.now(), e.expires != 0
}
