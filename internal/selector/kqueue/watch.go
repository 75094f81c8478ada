package kqueue

import (
	"sync"
	"sync/atomic"

	"github.com/pollux-io/pollux/internal/selector"
	"github.com/pollux-io/pollux/internal/sys"
)

// watch is the selector's state of one descriptor: whether it is registered, its
// key, interest and trigger. There is one for each descriptor number, because
// kqueue has no EEXIST: adding an existing knote changes it.
//
// Each change of a registration gives it a new version, which the kernel carries
// as user data. An event whose version differs from the watch's is stale: from
// before a Modify, or from before the number was reused for another file. A
// version has 52 bits, so on 64-bit systems none is used twice. On 32-bit systems
// the kernel carries 32 of them; a stale event would be taken for a current one
// only if its descriptor were changed 2^32 times, with a system call each, between
// the return of a kevent(2) and the reading of its results.
type watch struct {
	state atomic.Uint64 // version, trigger, interest, bits
	key   atomic.Uint64 // selector.Key
	// lastIndex is the index, in some batch, at which a Wait has put the last
	// event of this registration. See addEvent.
	lastIndex atomic.Uint32
}

// Bits of a watch's state.
const (
	held   = 1 << iota // the descriptor is registered, or is being registered or removed
	live               // key and version belong together: events are delivered
	armed              // oneshot, and not yet reported
	broken             // kqueue has refused EVFILT_WRITE: see brokenList

	interestShift = 4
	triggerShift  = 8
	versionShift  = 12

	versionStep = 1 << versionShift
)

func interestOf(state uint64) selector.Interest {
	return selector.Interest(state>>interestShift) & selector.AnyInterest
}

func triggerOf(state uint64) selector.Trigger {
	return selector.Trigger(state>>triggerShift) & selector.AnyTrigger
}

func versionOf(state uint64) uint64 { return state >> versionShift }

// acquire makes the descriptor held, under a new version. It returns false if the
// state is no longer old.
func (w *watch) acquire(old uint64) bool {
	return w.state.CompareAndSwap(old, (old&^(versionStep-1))+versionStep|held)
}

// set sets key, interest and trigger of a registration, under a new version, and
// returns the state. The descriptor must be held.
func (w *watch) set(key selector.Key, interest selector.Interest, trigger selector.Trigger) uint64 {
	version := w.state.Load()&^(versionStep-1) + versionStep
	w.state.Store(version | held) // a concurrent read with the old key fails
	w.key.Store(uint64(key))
	state := version | held | live | uint64(interest)<<interestShift | uint64(trigger)<<triggerShift
	if trigger&selector.Oneshot != 0 {
		state |= armed
	}
	w.state.Store(state)
	return state
}

// invalidate makes the registration's events stale; the descriptor stays held
// until release.
func (w *watch) invalidate() { w.state.Store(w.state.Load()&^(versionStep-1) + versionStep | held) }

func (w *watch) release() { w.state.And(^uint64(held)) }

// read returns a consistent pair of state and key; ok is false if the watch is not
// live under version, of which only the bits in mask are compared.
func (w *watch) read(version, mask uint64) (state uint64, key selector.Key, ok bool) {
	state = w.state.Load()
	if state&live == 0 || (versionOf(state)^version)&mask != 0 {
		return 0, 0, false
	}
	key = selector.Key(w.key.Load())
	return state, key, versionOf(w.state.Load()) == versionOf(state)
}

// claim marks a oneshot registration as fired; state is the state read before. It
// returns false if the registration has fired already, by its other knote, or has
// changed.
func (w *watch) claim(state uint64) bool {
	for state&armed != 0 {
		if w.state.CompareAndSwap(state, state&^armed) {
			return true
		}
		now := w.state.Load()
		if versionOf(now) != versionOf(state) {
			return false
		}
		state = now
	}
	return false
}

// hasKey reports whether w is the live registration of key.
func (w *watch) hasKey(key selector.Key) bool {
	return w.state.Load()&live != 0 && selector.Key(w.key.Load()) == key
}

const (
	chunkLog2 = 8
	chunkSize = 1 << chunkLog2
	// maxDescriptors bounds the numbers that can be watched; limits on open
	// files are far below.
	maxDescriptors = 1 << 26
)

type chunk [chunkSize]watch

// watches finds the watch of a descriptor. Lookups take no lock. A chunk never
// moves in the selector's life. Descriptor numbers are reused, so there are no more
// chunks than the highest number needs.
type watches struct {
	chunks atomic.Pointer[[]*atomic.Pointer[chunk]]
	mu     sync.Mutex
}

// get returns the watch of fd, or nil if fd never had one.
func (t *watches) get(fd uint64) *watch {
	chunks := t.chunks.Load()
	if chunks == nil || fd>>chunkLog2 >= uint64(len(*chunks)) {
		return nil
	}
	c := (*chunks)[fd>>chunkLog2].Load()
	if c == nil {
		return nil
	}
	return &c[fd%chunkSize]
}

// getOrMake returns the watch of fd, or nil if fd cannot be a descriptor.
func (t *watches) getOrMake(fd sys.FD) *watch {
	if uint64(fd) >= maxDescriptors { // negative ones too
		return nil
	}
	if w := t.get(uint64(fd)); w != nil {
		return w
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	i := int(fd >> chunkLog2)
	var chunks []*atomic.Pointer[chunk]
	if p := t.chunks.Load(); p != nil {
		chunks = *p
	}
	if i >= len(chunks) {
		grown := make([]*atomic.Pointer[chunk], max(i+1, 2*len(chunks)))
		for j := copy(grown, chunks); j < len(grown); j++ {
			grown[j] = new(atomic.Pointer[chunk])
		}
		chunks = grown
		t.chunks.Store(&chunks)
	}
	if chunks[i].Load() == nil {
		chunks[i].Store(new(chunk))
	}
	return &chunks[i].Load()[fd%chunkSize]
}
