package tlsconn

import (
	"runtime"
	"sync"
	"sync/atomic"
	"weak"

	"github.com/pollux-io/pollux/internal/block"
	"github.com/pollux-io/pollux/internal/tlsengine"
	"github.com/pollux-io/pollux/loop"
)

const (
	// maxIdleBlockBytes is how much unused memory for records is kept for each loop.
	maxIdleBlockBytes = 1 << 20
	// maxIdleOutboxes is how many unused outboxes are kept for each loop.
	maxIdleOutboxes = 64
)

// A group is what the TLS connections of a loop.Group share. It ends with the loop.Group.
type group struct {
	pool  *tlsengine.Pool
	loops []shared // by loop.Loop.Index

	completed, failed, timedOut atomic.Uint64 // handshakes
}

// shared is what the TLS connections of a loop share. Only the loop accesses it, except blocks.
type shared struct {
	group   *group
	blocks  *block.Pool
	boxes   []*outbox // unused
	gathers []byte    // nil, or MaxPlaintextBytes: where small writes become one record
}

// groups finds the group of a loop.Group. It does not keep either alive.
var groups struct {
	mu sync.Mutex
	of map[weak.Pointer[loop.Group]]*group
}

// groupOf returns the group of g. If g has none yet, it makes one if create is set, and otherwise returns nil.
func groupOf(g *loop.Group, create bool) *group {
	key := weak.Make(g)
	groups.mu.Lock()
	defer groups.mu.Unlock()
	of := groups.of[key]
	if of == nil && create {
		of = newGroup(len(g.Loops()))
		if groups.of == nil {
			groups.of = map[weak.Pointer[loop.Group]]*group{}
		}
		groups.of[key] = of
		runtime.AddCleanup(g, forget, key)
	}
	return of
}

func newGroup(loops int) *group {
	of := &group{pool: tlsengine.NewPool(tlsengine.PoolConfig{}), loops: make([]shared, loops)}
	for i := range of.loops {
		of.loops[i] = shared{group: of, blocks: block.NewPool(maxIdleBlockBytes)}
	}
	return of
}

// forget removes the group of a loop.Group that was collected.
func forget(key weak.Pointer[loop.Group]) {
	groups.mu.Lock()
	defer groups.mu.Unlock()
	delete(groups.of, key)
}

func sharedOf(l *loop.Loop) *shared { return &groupOf(l.Group(), true).loops[l.Index()] }

func (s *shared) getOutbox() *outbox {
	if n := len(s.boxes); n > 0 {
		o := s.boxes[n-1]
		s.boxes = s.boxes[:n-1]
		return o
	}
	return &outbox{pool: s.blocks}
}

func (s *shared) putOutbox(o *outbox) {
	o.drop()
	if len(s.boxes) < maxIdleOutboxes {
		s.boxes = append(s.boxes, o)
	}
}

// gather returns a buffer for one record's plaintext, for use until the next call.
func (s *shared) gather() []byte {
	if s.gathers == nil {
		s.gathers = make([]byte, tlsengine.MaxPlaintextBytes)
	}
	return s.gathers
}

// Stats are figures of a group's TLS connections. The counters count since the group's first TLS connection.
type Stats struct {
	// InPlace reports that records are decrypted in the memory that they were received in, so that idle connections
	// have no buffers. Otherwise Reason is why not: the version of Go has an unknown crypto/tls, or the environment
	// variable POLLUX_TLS is "copying". Then connections work as well, but each keeps buffers as large as its
	// largest record.
	InPlace bool
	Reason  error

	InProgress int    // handshakes that have a goroutine
	Waiting    int    // those of them that wait for the peer
	Queued     int    // handshakes that wait for others to end
	Completed  uint64 // handshakes that were successful
	Failed     uint64 // handshakes that were not, for whatever reason
	TimedOut   uint64 // those of Failed that took longer than Options.HandshakeTimeout
	Evicted    uint64 // those of Failed whose peer was silent while others were queued: ErrHandshakeEvicted
	Refused    uint64 // those of Failed that did not begin: ErrTooManyHandshakes
}

// StatsOf returns the figures of the group's TLS connections. Without a group (nil) these are zero, but for InPlace and
// Reason, which are the same for all. It may be called from any goroutine. The first call, or handshake, of a process takes a few milliseconds: it checks whether InPlace works.
func StatsOf(g *loop.Group) Stats {
	mode, reason := tlsengine.CurrentMode()
	s := Stats{InPlace: mode == tlsengine.InPlace, Reason: reason}
	of := groupOf(g, false)
	if of == nil {
		return s
	}
	p := of.pool.Stats()
	s.InProgress, s.Waiting, s.Queued, s.Evicted, s.Refused = p.InProgress, p.Waiting, p.Queued, p.Evicted, p.Refused
	s.Completed, s.Failed, s.TimedOut = of.completed.Load(), of.failed.Load(), of.timedOut.Load()
	return s
}
