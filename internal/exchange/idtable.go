package exchange

import "slices"

// An idTable has the transmissions that are in flight on a socket or stream, by ID. IDs are random, so they
// are their own hashes: collisions go to the next free slot. It is several times as fast as a map.
type idTable struct {
	slots []*transmission // a power of two, at most half of them in use
	n     int
}

const (
	minSlots = 8
	// maxInTable is how many transmissions a table takes: IDs must stay easy to find.
	maxInTable = 1 << 14
)

func (t *idTable) get(id uint16) *transmission {
	if t.n == 0 {
		return nil
	}
	mask := len(t.slots) - 1
	for i := int(id) & mask; t.slots[i] != nil; i = (i + 1) & mask {
		if t.slots[i].sent.ID == id {
			return t.slots[i]
		}
	}
	return nil
}

// put adds a transmission whose ID is not in the table. The ID must not change until it is removed.
func (t *idTable) put(e *transmission) {
	if 2*(t.n+1) > len(t.slots) {
		old := t.slots
		t.slots = make([]*transmission, max(2*len(old), minSlots))
		for _, e := range old {
			if e != nil {
				t.insert(e)
			}
		}
	}
	t.insert(e)
	t.n++
}

func (t *idTable) insert(e *transmission) {
	mask := len(t.slots) - 1
	i := int(e.sent.ID) & mask
	for t.slots[i] != nil {
		i = (i + 1) & mask
	}
	t.slots[i] = e
}

// remove removes a transmission that is in the table. What follows moves up, as a gap would end the search.
func (t *idTable) remove(e *transmission) {
	mask := len(t.slots) - 1
	i := int(e.sent.ID) & mask
	for t.slots[i] != e {
		i = (i + 1) & mask
	}
	t.n--
	for j := i; ; {
		j = (j + 1) & mask
		next := t.slots[j]
		if next == nil {
			break
		}
		if home := int(next.sent.ID) & mask; (j-home)&mask >= (j-i)&mask { // it may be as far up as i
			t.slots[i] = next
			i = j
		}
	}
	t.slots[i] = nil
}

// inOrder returns the transmissions ordered by ID, so that a run on a simulated network can be repeated.
func (t *idTable) inOrder() []*transmission {
	all := make([]*transmission, 0, t.n)
	for _, e := range t.slots {
		if e != nil {
			all = append(all, e)
		}
	}
	slices.SortFunc(all, func(a, b *transmission) int { return int(a.sent.ID) - int(b.sent.ID) })
	return all
}
