package selector

import (
	"math/bits"
	"sync"
	"sync/atomic"
)

// Key identifies one registration: a slot in the table and the slot's
// generation. The kernel returns it with each event. No key is issued twice
// in the life of a Table, so an event whose key the table no longer holds is
// stale, even if its slot or descriptor has been reused.
type Key uint64

// SlotBits is how many bits of a Key are the slot: a Table holds at most
// 2^SlotBits registrations. The other bits are the generation.
const SlotBits = 26

const (
	slotMask       = 1<<SlotBits - 1
	maxGeneration  = 1<<(64-SlotBits-phaseBits-interestBits) - 1
	phaseBits      = 2
	interestBits   = 3
	phaseMask      = 1<<phaseBits - 1
	firstChunkLog2 = 8
	maxChunks      = SlotBits - firstChunkLog2 + 1
)

// Slot returns the index of the key's slot. No two live keys have the same.
func (k Key) Slot() uint32 { return uint32(k & slotMask) }

func (k Key) generation() uint64 { return uint64(k) >> SlotBits }

func makeKey(slot uint32, generation uint64) Key {
	return Key(generation<<SlotBits | uint64(slot))
}

// A slot's phase, in the low bits of its state.
const (
	free     = iota // on the free list, or used up
	live            // registered: events are delivered
	changing        // Rekey is between its stores
)

// slot is one registration. state is generation, interest, phase; it is
// written last when a registration is made and first when it is removed, so a
// reader that finds it unchanged after its other reads has read the values of
// one registration.
type slot struct {
	state atomic.Uint64
	token atomic.Uint64
}

func pack(generation uint64, interest Interest, phase uint64) uint64 {
	return generation<<(phaseBits+interestBits) | uint64(interest)<<phaseBits | phase
}

// Table holds the registrations of one queue. Lookup takes no lock and may run
// concurrently with any other method. Rekey and Remove of one key must not run
// concurrently.
//
// A slot that has no generation left is retired, never reused: that costs 16
// bytes for each 2^33 changes of one slot, and makes a wrapped counter
// impossible instead of unlikely.
type Table struct {
	// Slots never move: chunk i holds 2^(i+7) of them (the first, 2^8), so the
	// table grows while lookups read it.
	chunks [maxChunks]atomic.Pointer[[]slot]

	mu       sync.Mutex
	freeList []uint32
	used     uint32 // slots ever allocated
	live     int
	drained  uint32 // Drain is done with the slots below

	// lastGeneration is the highest that a slot may have; tests lower it.
	lastGeneration uint64
	capacity       uint32
}

// NewTable returns a table of at most 2^SlotBits registrations.
func NewTable() *Table {
	return &Table{lastGeneration: maxGeneration, capacity: 1 << SlotBits}
}

// Limit lowers the number of generations of a slot, and of slots, so that
// tests reach these limits. It must be called before any other method.
func (t *Table) Limit(generations uint64, slots uint32) {
	t.lastGeneration = generations - 1
	t.capacity = slots
}

func locate(i uint32) (chunk int, offset uint32) {
	const first = 1 << firstChunkLog2
	if i < first {
		return 0, i
	}
	log2 := bits.Len32(i) - 1
	return log2 - firstChunkLog2 + 1, i - 1<<log2
}

func (t *Table) slot(i uint32) *slot {
	c, off := locate(i)
	if c >= maxChunks {
		return nil
	}
	chunk := t.chunks[c].Load()
	if chunk == nil {
		return nil
	}
	return &(*chunk)[off]
}

// Insert makes a live registration and returns its key, which is new.
func (t *Table) Insert(token uint64, interest Interest) (Key, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	i, err := t.allocLocked()
	if err != nil {
		return 0, err
	}
	s := t.slot(i)
	generation := s.state.Load() >> (phaseBits + interestBits)
	s.token.Store(token)
	s.state.Store(pack(generation, interest, live))
	t.live++
	return makeKey(i, generation), nil
}

// allocLocked returns the index of a free slot; the caller must hold mu.
func (t *Table) allocLocked() (uint32, error) {
	if n := len(t.freeList); n > 0 {
		i := t.freeList[n-1]
		t.freeList = t.freeList[:n-1]
		return i, nil
	}
	i := t.used
	if i >= t.capacity {
		return 0, ErrFull
	}
	c, off := locate(i)
	if off == 0 {
		size := uint32(1) << firstChunkLog2
		if c > 0 {
			size <<= c - 1
		}
		chunk := make([]slot, size)
		t.chunks[c].Store(&chunk)
	}
	t.used++
	return i, nil
}

// Remove ends the registration of key. Once it has returned, no Lookup finds
// key. It returns false if key was not live.
func (t *Table) Remove(key Key) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	s := t.slot(key.Slot())
	if s == nil {
		return false
	}
	old := s.state.Load()
	if old&phaseMask == free || old>>(phaseBits+interestBits) != key.generation() {
		return false
	}
	t.freeLocked(key.Slot(), s)
	return true
}

// freeLocked frees the slot under its next generation, or retires it if it has
// none; the caller must hold mu.
func (t *Table) freeLocked(i uint32, s *slot) {
	t.live--
	generation := s.state.Load() >> (phaseBits + interestBits)
	if generation >= t.lastGeneration {
		s.state.Store(pack(generation, 0, free))
		return
	}
	s.state.Store(pack(generation+1, 0, free))
	t.freeList = append(t.freeList, i)
}

// Rekey gives the registration of key a new key, token and interest; the old key
// becomes stale. It returns false if key is not live. It takes no lock unless the
// slot has no generation left, because with Oneshot it runs once per event.
func (t *Table) Rekey(key Key, token uint64, interest Interest) (Key, bool, error) {
	s := t.slot(key.Slot())
	if s == nil {
		return 0, false, nil
	}
	old := s.state.Load()
	if old&phaseMask != live || old>>(phaseBits+interestBits) != key.generation() {
		return 0, false, nil
	}
	if key.generation() == t.lastGeneration {
		return t.moveToNewSlot(key, token, interest)
	}
	s.state.Store(old&^phaseMask | changing)
	s.token.Store(token)
	s.state.Store(pack(key.generation()+1, interest, live))
	return makeKey(key.Slot(), key.generation()+1), true, nil
}

// moveToNewSlot is Rekey for a registration whose slot has no generation left.
func (t *Table) moveToNewSlot(key Key, token uint64, interest Interest) (Key, bool, error) {
	moved, err := t.Insert(token, interest)
	if err != nil {
		return 0, true, err
	}
	return moved, t.Remove(key), nil
}

// Lookup returns the token and the interest of key; ok is false if key is
// stale.
func (t *Table) Lookup(key Key) (token uint64, interest Interest, ok bool) {
	s := t.slot(key.Slot())
	if s == nil {
		return 0, 0, false
	}
	state := s.state.Load()
	token = s.token.Load()
	if state&phaseMask != live || state>>(phaseBits+interestBits) != key.generation() ||
		s.state.Load() != state {
		return 0, 0, false
	}
	return token, Interest(state>>phaseBits) & AnyInterest, true
}

// Len returns the number of live registrations.
func (t *Table) Len() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.live
}

// Drain removes up to len(tokens) live registrations, stores their tokens and
// returns their number, 0 if there are none. Concurrent calls drain each
// registration once. Insert and Rekey must not run during or after Drain.
func (t *Table) Drain(tokens []uint64) int {
	t.mu.Lock()
	defer t.mu.Unlock()
	n := 0
	for ; t.drained < t.used && n < len(tokens); t.drained++ {
		s := t.slot(t.drained)
		if s.state.Load()&phaseMask == free {
			continue
		}
		tokens[n] = s.token.Load()
		n++
		t.freeLocked(t.drained, s)
	}
	return n
}
