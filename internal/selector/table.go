package selector

import (
	"math/bits"
	"sync"
	"sync/atomic"
)

// Key names one registration for good: a slot in the table and the slot's
// generation. The kernel carries it back with each event. No key is given out
// twice in the life of a Table, so an event whose key the table no longer
// holds is stale, whatever has become of its slot or descriptor since.
type Key uint64

// SlotBits is how many bits of a Key name the slot: a Table holds at most
// 2^SlotBits registrations at once. The rest is the generation.
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

// Slot returns the index of the key's slot, which no other live key shares.
func (k Key) Slot() uint32 { return uint32(k & slotMask) }

func (k Key) generation() uint64 { return uint64(k) >> SlotBits }

func makeKey(slot uint32, generation uint64) Key {
	return Key(generation<<SlotBits | uint64(slot))
}

// A slot's phase, in the low bits of its state.
const (
	free     = iota // on the free list, or used up
	live            // registered: events are handed out
	changing        // Rekey is between its stores
)

// slot is one registration. state is generation, interest, phase; it is the
// last thing written when a registration appears and the first when it goes,
// so a reader that finds it unchanged around its other reads has read one
// registration's values.
type slot struct {
	state atomic.Uint64
	token atomic.Uint64
}

func pack(generation uint64, interest Interest, phase uint64) uint64 {
	return generation<<(phaseBits+interestBits) | uint64(interest)<<phaseBits | phase
}

// Table keeps the registrations of one queue. Lookups take no lock and may run
// beside any other method. Rekey and Remove of one key must not run at the same
// time as each other.
//
// A slot whose generations are used up is retired, never reused: that costs 16
// bytes for each 2^33 changes of one slot, and makes a wrapped counter
// impossible instead of unlikely.
type Table struct {
	// Slots stay where they are: chunk i holds 2^(i+7) of them (the first,
	// 2^8), so the table grows without moving what lookups may be reading.
	chunks [maxChunks]atomic.Pointer[[]slot]

	mu       sync.Mutex
	freeList []uint32
	used     uint32 // slots ever handed out
	live     int
	drained  uint32 // slots below are done with; see Drain

	// lastGeneration is the highest in use; tests lower it.
	lastGeneration uint64
	capacity       uint32
}

// NewTable returns a table of at most 2^SlotBits registrations.
func NewTable() *Table {
	return &Table{lastGeneration: maxGeneration, capacity: 1 << SlotBits}
}

// Limit lowers the number of generations that a slot has, and of slots, so that
// tests reach the end of either. It must come before any other call.
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

// Insert makes a live registration. Its key is new.
func (t *Table) Insert(token uint64, interest Interest) (Key, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	i, err := t.take()
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

// take returns a free slot's index; the caller holds mu.
func (t *Table) take() (uint32, error) {
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
	t.release(key.Slot(), s)
	return true
}

// release frees the slot under its next generation, or retires it; the caller
// holds mu.
func (t *Table) release(i uint32, s *slot) {
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
// is stale from then on. It returns false if key is not live. Unless the slot is
// used up it takes no lock: with Oneshot it runs once an event.
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
		return t.move(key, token, interest)
	}
	s.state.Store(old&^phaseMask | changing)
	s.token.Store(token)
	s.state.Store(pack(key.generation()+1, interest, live))
	return makeKey(key.Slot(), key.generation()+1), true, nil
}

// move takes a registration out of a slot that is used up.
func (t *Table) move(key Key, token uint64, interest Interest) (Key, bool, error) {
	moved, err := t.Insert(token, interest)
	if err != nil {
		return 0, true, err
	}
	return moved, t.Remove(key), nil
}

// Lookup returns the token of key and its interest; ok is false if key is
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

// Len returns how many registrations are live.
func (t *Table) Len() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.live
}

// Drain ends live registrations, as many as tokens has room for, and stores
// their tokens. Each registration is drained once, whoever calls. It returns 0
// when none is left. No Insert or Rekey may run then or come later.
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
		t.release(t.drained, s)
	}
	return n
}
