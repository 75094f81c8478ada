package exchange

import (
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/pollux-io/pollux/internal/dnswire"
)

// tableOf returns a table with the IDs.
func tableOf(ids ...uint16) (t idTable) {
	for _, id := range ids {
		t.put(&transmission{sent: dnswire.Sent{ID: id}})
	}
	return t
}

// A table finds exactly the IDs that were put into it and not removed, whatever the order.
func TestIDTable(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for _, ids := range []uint32{4, 40, 1 << 16} { // few IDs, so that most collide, and many
		var table idTable
		model := map[uint16]*transmission{}
		for range 20_000 {
			id := uint16(r.Uint32N(ids) * (1 << 16 / ids))
			switch e := model[id]; {
			case table.get(id) != e || table.n != len(model):
				t.Fatalf("ID %d: found %p, want %p; %d elements, want %d", id, table.get(id), e, table.n, len(model))
			case e == nil:
				e = &transmission{sent: dnswire.Sent{ID: id}}
				model[id] = e
				table.put(e)
			default:
				table.remove(e)
				delete(model, id)
			}
		}
		all := table.inOrder()
		if len(all) != len(model) || !slices.IsSortedFunc(all, func(a, b *transmission) int { return int(a.sent.ID) - int(b.sent.ID) }) {
			t.Errorf("%d elements in order, want %d", len(all), len(model))
		}
	}
}
