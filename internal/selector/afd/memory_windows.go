package afd

import (
	"sync"

	"github.com/pollux-io/pollux/internal/sys"
)

// slots is the memory of polls, for all selectors of the process. It never returns
// memory to the system: it keeps 64 bytes for each poll of the maximum that existed
// at one time.
var slots slotPool

// slotsPerAlloc fills 64 KiB, the minimum that VirtualAlloc allocates.
const slotsPerAlloc = 64 << 10 / sys.PollSlotBytes

type slotPool struct {
	mu   sync.Mutex
	free []*sys.AFDPoll
}

func (p *slotPool) get() (*sys.AFDPoll, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.free) == 0 {
		fresh, e := sys.PollSlots(slotsPerAlloc)
		if e != 0 {
			return nil, sys.CallError("VirtualAlloc", e)
		}
		p.free = fresh
	}
	last := len(p.free) - 1
	slot := p.free[last]
	p.free = p.free[:last]
	return slot, nil
}

// put frees the memory of a poll that is not in flight.
func (p *slotPool) put(slot *sys.AFDPoll) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.free = append(p.free, slot)
}
