package selector

import (
	"errors"
	"sync"
	"sync/atomic"
	"testing"
)

func TestKeysAreUnique(t *testing.T) {
	table := NewTable()
	table.Limit(3, 64)
	seen := map[Key]bool{}
	live := []Key{}
	for i := 0; ; i++ {
		key, err := table.Insert(uint64(i), Readable)
		if errors.Is(err, ErrFull) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if seen[key] {
			t.Fatalf("key %x was issued twice", key)
		}
		seen[key] = true
		live = append(live, key)
		if len(live) == 4 {
			for _, k := range live {
				if !table.Remove(k) {
					t.Fatalf("Remove(%x) = false for a live key", k)
				}
				if _, _, ok := table.Lookup(k); ok {
					t.Fatalf("Lookup(%x) found a removed key", k)
				}
			}
			live = live[:0]
		}
	}
	if len(seen) != 3*64 {
		t.Errorf("%d keys, want every generation of every slot: %d", len(seen), 3*64)
	}
}

func TestRekeyMovesFromRetiredSlot(t *testing.T) {
	table := NewTable()
	table.Limit(2, 1000)
	key, _ := table.Insert(1, Readable)
	old := []Key{}
	for token := uint64(2); token < 100; token++ {
		fresh, ok, err := table.Rekey(key, token, Writable)
		if !ok || err != nil {
			t.Fatalf("Rekey: %v %v", ok, err)
		}
		old = append(old, key)
		key = fresh
		if got, interest, ok := table.Lookup(key); !ok || got != token || interest != Writable {
			t.Fatalf("Lookup = %d %v %v, want %d", got, interest, ok, token)
		}
		for _, k := range old {
			if _, _, ok := table.Lookup(k); ok {
				t.Fatalf("old key %x is still found", k)
			}
			if _, ok, _ := table.Rekey(k, 0, Readable); ok {
				t.Fatalf("Rekey of the old key %x succeeded", k)
			}
		}
	}
	if n := table.Len(); n != 1 {
		t.Errorf("%d live, want 1", n)
	}
}

func TestSlotsOfEveryChunk(t *testing.T) {
	table := NewTable()
	const n = 1 << 14
	var keys [n]Key
	for i := range keys {
		key, err := table.Insert(uint64(i), Readable)
		if err != nil || key.Slot() != uint32(i) {
			t.Fatalf("Insert %d = slot %d, %v", i, key.Slot(), err)
		}
		keys[i] = key
	}
	for i, key := range keys {
		if token, _, ok := table.Lookup(key); !ok || token != uint64(i) {
			t.Fatalf("Lookup of %d = %d %v", i, token, ok)
		}
	}
	if _, _, ok := table.Lookup(makeKey(1<<SlotBits-1, 0)); ok {
		t.Error("Lookup found a slot that was never allocated")
	}
	if _, _, ok := table.Lookup(^Key(0)); ok {
		t.Error("Lookup found the largest key")
	}
}

func TestConcurrentDrainReturnsEachOnce(t *testing.T) {
	table := NewTable()
	const n = 5000
	for i := range n {
		key, _ := table.Insert(uint64(i), Readable)
		if i%3 == 0 {
			table.Remove(key)
		}
	}
	var drained [n]atomic.Int32
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			tokens := make([]uint64, 7)
			for {
				k := table.Drain(tokens)
				if k == 0 {
					return
				}
				for _, token := range tokens[:k] {
					drained[token].Add(1)
				}
			}
		})
	}
	wg.Wait()
	for i := range drained {
		want := int32(1)
		if i%3 == 0 {
			want = 0
		}
		if got := drained[i].Load(); got != want {
			t.Errorf("token %d was drained %d times, want %d", i, got, want)
		}
	}
	if table.Len() != 0 {
		t.Errorf("%d registrations are live after Drain, want 0", table.Len())
	}
}

// A Lookup that runs concurrently with Rekey returns the token that belongs to the key.
func TestLookupNeverMixesRegistrations(t *testing.T) {
	table := NewTable()
	key, _ := table.Insert(0, Readable)
	var current atomic.Uint64
	current.Store(uint64(key))
	tokenOf := func(k Key) uint64 { return uint64(k) ^ 0xabcdef }
	key, _, _ = table.Rekey(key, tokenOf(makeKey(key.Slot(), key.generation()+1)), Readable)
	current.Store(uint64(key))
	done := make(chan struct{})
	var wg sync.WaitGroup
	for range 3 {
		wg.Go(func() {
			for {
				select {
				case <-done:
					return
				default:
				}
				k := Key(current.Load())
				if token, _, ok := table.Lookup(k); ok && token != tokenOf(k) {
					t.Errorf("key %x came with token %x of another registration", k, token)
					return
				}
			}
		})
	}
	for range 200_000 {
		next := makeKey(key.Slot(), key.generation()+1)
		key, _, _ = table.Rekey(key, tokenOf(next), Readable)
		current.Store(uint64(key))
	}
	close(done)
	wg.Wait()
}

func BenchmarkTableLookup(b *testing.B) {
	table := NewTable()
	var keys [1024]Key
	for i := range keys {
		keys[i], _ = table.Insert(uint64(i), Readable)
	}
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		table.Lookup(keys[i%len(keys)])
	}
}
