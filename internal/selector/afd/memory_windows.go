package afd

import (
	"sync"

	"github.com/pollux-io/pollux/internal/sys"
)

// slots is the memory of polls, for all selectors of the process. What it has once
// taken from the system it keeps: as much as the polls that were in flight or idle
// at one time have needed, 64 bytes each.
var slots slotPool

// slotsAtOnce fills what VirtualAlloc hands out at the least, 64 KiB.
const slotsAtOnce = 64 << 10 / sys.PollSlotBytes

type slotPool struct {
	mu   sync.Mutex
	free []*sys.AFDPoll
}

func (p *slotPool) get() (*sys.AFDPoll, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.free) == 0 {
		fresh, e := sys.PollSlots(slotsAtOnce)
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

// put takes back the memory of a poll that is not in flight.
func (p *slotPool) put(slot *sys.AFDPoll) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.free = append(p.free, slot)
}
