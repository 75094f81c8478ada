package sendqueue

import (
	"bytes"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/pollux-io/pollux/internal/block"
)

// check checks what must hold between two calls.
func (q *Queue) check(t *testing.T) {
	t.Helper()
	sum := 0
	for i, x := range q.chunks[len(q.chunks):cap(q.chunks)] {
		if x.block != nil || x.b != nil || x.done != nil || x.shared != nil {
			t.Fatalf("free place %d still refers to memory", i)
		}
	}
	for i, x := range q.chunks {
		sum += len(x.b)
		if i < q.head && (x.block != nil || x.b != nil || x.done != nil || x.shared != nil) {
			t.Fatalf("chunk %d is consumed and still refers to memory", i)
		}
		if x.block != nil && len(x.b) == 0 {
			t.Fatalf("chunk %d keeps an empty block", i)
		}
	}
	if sum != q.Len() {
		t.Fatalf("the chunks have %d bytes, and Len returns %d", sum, q.Len())
	}
	if q.head > len(q.chunks) {
		t.Fatalf("the head is %d, of %d chunks", q.head, len(q.chunks))
	}
}

// contents returns the unsent bytes.
func (q *Queue) contents() (all []byte) {
	for _, x := range q.chunks[q.head:] {
		all = append(all, x.b...)
	}
	return all
}

func noBlocksInUse(t *testing.T, blocks *block.Pool) {
	t.Helper()
	if s := blocks.Stats(); s.OutBlocks != 0 || s.OutBytes != 0 {
		t.Errorf("%d blocks of %d bytes are in use, want none", s.OutBlocks, s.OutBytes)
	}
}

// mustPanic calls f, which must panic with a message that contains want.
func mustPanic(t *testing.T, want string, f func()) {
	t.Helper()
	defer func() {
		t.Helper()
		if got, ok := recover().(string); !ok || !strings.Contains(got, want) {
			t.Errorf("the panic is %q, want one with %q", got, want)
		}
	}()
	f()
}

func TestSmallCopiesShareABlock(t *testing.T) {
	blocks := block.NewPool(0)
	q := Get(blocks)
	for range 8 {
		q.Append(make([]byte, 64))
	}
	if bufs, n := q.Gather(make([][]byte, 0, 8)); len(bufs) != 1 || n != 512 {
		t.Errorf("512 bytes are gathered as %d slices of %d bytes, want one", len(bufs), n)
	}
	q.Append(make([]byte, 1))
	q.Consume(512, nil)
	if s := blocks.Stats(); s.OutBlocks != 1 {
		t.Errorf("%d blocks are in use for one byte, want 1", s.OutBlocks)
	}
	q.Drop(nil, nil)
	q.Put()
	noBlocksInUse(t, blocks)
}

func TestLargeCopiesAreSplit(t *testing.T) {
	blocks := block.NewPool(0)
	q := Get(blocks)
	q.Append(make([]byte, 2*maxBlock+1))
	if s := blocks.Stats(); s.OutBlocks != 3 || s.OutBytes != 2*maxBlock+512 {
		t.Errorf("%d blocks of %d bytes are in use, want two of %d and one of 512", s.OutBlocks, s.OutBytes, maxBlock)
	}
	q.Drop(nil, nil)
	q.Put()
	noBlocksInUse(t, blocks)
}

// The free part of a block is used only while the block is the last chunk, and never changes
// bytes that were queued before.
func TestCopiesAfterAnOwnedSliceFollowIt(t *testing.T) {
	q := Get(block.NewPool(0))
	owned := append(make([]byte, 0, 100), "b"...)
	q.Append([]byte("a"))
	q.AppendOwned(owned, nil)
	q.Append([]byte("c"))
	if got := string(q.contents()); got != "abc" {
		t.Errorf("queued %q, want abc", got)
	}
	if got := string(owned[:2]); got != "b\x00" {
		t.Errorf("the owned slice and the byte after it are %q, and must not be written", got)
	}
	q.Drop(nil, nil)
	q.Put()
}

func TestGatherIsBoundedByTheCapacity(t *testing.T) {
	q := Get(block.NewPool(0))
	for range 10 {
		q.AppendOwned(make([]byte, 3), nil)
	}
	first := []byte("first")
	bufs, n := q.Gather(append(make([][]byte, 0, 4), first))
	if len(bufs) != 4 || n != 9 || &bufs[0][0] != &first[0] {
		t.Errorf("Gather returned %d slices and %d bytes, want 4 and 9", len(bufs), n)
	}
	if bufs, n = q.Gather(nil); len(bufs) != 0 || n != 0 {
		t.Errorf("without capacity Gather returned %d slices and %d bytes, want none", len(bufs), n)
	}
	q.Drop(nil, nil)
	q.Put()
}

// done is due once everything up to its slice has been consumed, in order; for an empty slice
// also if nothing is queued before it.
func TestL3DoneIsDueInOrder(t *testing.T) {
	var got []string
	note := func(name string) func(error) {
		return func(err error) {
			if err != nil {
				name += ": " + err.Error()
			}
			got = append(got, name)
		}
	}
	q := Get(block.NewPool(0))
	q.Append([]byte("copy"))
	q.AppendOwned([]byte("owned"), note("owned"))
	q.AppendOwned(nil, note("empty"))
	q.AppendOwned([]byte("silent"), nil)
	q.AppendOwned([]byte("last"), note("last"))
	for _, step := range []struct {
		n    int
		want []string
	}{
		{0, nil}, {4, nil}, {4, nil}, {1, []string{"owned", "empty"}}, {6, nil}, {3, nil},
	} {
		got = nil
		for _, d := range q.Consume(step.n, nil) {
			d.Func(d.Err)
		}
		if !slices.Equal(got, step.want) {
			t.Errorf("after %d more bytes %q were due, want %q", step.n, got, step.want)
		}
		q.check(t)
	}
	q.AppendOwned(nil, note("dropped"))
	got = nil
	for _, d := range q.Drop(errors.New("reset"), nil) {
		d.Func(d.Err)
	}
	if want := []string{"last: reset", "dropped: reset"}; !slices.Equal(got, want) {
		t.Errorf("Drop made %q due, want %q", got, want)
	}
	if !q.Empty() || q.Len() != 0 {
		t.Errorf("after Drop the queue has %d bytes, want none", q.Len())
	}
	q.AppendOwned(nil, note("alone"))
	if got = nil; q.Empty() || q.Len() != 0 {
		t.Error("an empty slice is not queued")
	}
	if due := q.Consume(0, nil); len(due) != 1 || due[0].Err != nil || !q.Empty() {
		t.Errorf("Consume(0) made %d calls due for an empty slice, want 1 without an error", len(due))
	}
	q.Put()
}

// A queue of a slow peer, which never becomes empty, does not keep the places of what was sent.
func TestL3QueueThatNeverBecomesEmptyIsBounded(t *testing.T) {
	q := Get(block.NewPool(0))
	q.chunks = nil // its capacity may be another test's
	const queued = 100
	b := make([]byte, 10)
	for range queued {
		q.AppendOwned(b, nil)
	}
	for range 100 * queued {
		q.AppendOwned(b, nil)
		q.Consume(len(b), nil)
		q.check(t)
	}
	if n := cap(q.chunks); n > 4*queued {
		t.Errorf("there is space for %d chunks, though at most %d were queued", n, queued+1)
	}
	q.Drop(nil, nil)
	q.Put()
}

func TestMisuseOfAQueuePanics(t *testing.T) {
	blocks := block.NewPool(0)
	q := Get(blocks)
	q.Append(make([]byte, 10))
	mustPanic(t, "11 bytes consumed, of 10", func() { q.Consume(11, nil) })
	mustPanic(t, "-1 bytes consumed", func() { q.Consume(-1, nil) })
	mustPanic(t, "with 10 bytes in 1 chunks", q.Put)
	q.bytes++ // as if a byte had been lost
	mustPanic(t, "counts 1 bytes", func() { q.Drop(nil, nil) })
	q.bytes = 0
	q.AppendOwned(nil, nil)
	q.bytes = 1
	mustPanic(t, "and 1 are to be consumed", func() { q.Consume(1, nil) })
	noBlocksInUse(t, blocks)
}

func TestQueueAllocatesNothing(t *testing.T) {
	blocks := block.NewPool(1 << 20)
	small, large := make([]byte, 100), make([]byte, 3*maxBlock)
	bufs, due, done := make([][]byte, 0, 16), make([]Done, 0, 16), func(error) {}
	q := Get(blocks) // once, for the race detector makes a sync.Pool allocate
	if n := testing.AllocsPerRun(100, func() {
		q.Append(small)
		q.Append(large)
		q.AppendOwned(large, done)
		for !q.Empty() {
			_, n := q.Gather(bufs)
			due = q.Consume(min(n, 100_000), due[:0])
		}
	}); n != 0 {
		t.Errorf("%v allocations, want none", n)
	}
	q.Put()
}

func TestStaging(t *testing.T) {
	s := NewStaging(10)
	s.Append([]byte("12345"))
	if s.Len() != 5 || s.Space() != 5 {
		t.Errorf("the length is %d and the space %d, want 5 and 5", s.Len(), s.Space())
	}
	mustPanic(t, "is full", func() { s.Append([]byte("123456")) })
	s.Append([]byte("67890"))
	s.Append(nil)
	if s.Len() != 10 || s.Space() != 0 {
		t.Errorf("the length is %d and the space %d, want 10 and 0", s.Len(), s.Space())
	}
	if got := s.Take(); !bytes.Equal(got, []byte("1234567890")) || s.Len() != 0 {
		t.Errorf("Take returned %q and left %d bytes, want all bytes and none", got, s.Len())
	}
	if got := s.Take(); len(got) != 0 {
		t.Errorf("Take of an empty buffer returned %q", got)
	}
	if s.Append([]byte("again")); string(s.Take()) != "again" || s.Space() != 10 {
		t.Error("the buffer cannot be used after Take")
	}
	var none Staging
	if none.Space() != 0 || none.Len() != 0 || len(none.Take()) != 0 {
		t.Error("a zero Staging has space")
	}
}
