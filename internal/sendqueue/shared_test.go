package sendqueue

import (
	"bytes"
	"fmt"
	"testing"

	"github.com/pollux-io/pollux/internal/block"
)

// newShared returns a Shared of n bytes, and how often its function was due.
func newShared(n int) (*Shared, *int) {
	s, freed := new(Shared), new(int)
	s.Init(bytes.Repeat([]byte("s"), n), func() { *freed++ })
	return s, freed
}

func runDue(due []Done) {
	for _, d := range due {
		d.Freed()
	}
}

// Many queues have one copy, and the last one to consume or drop it makes the function due.
func TestSharedIsFreedByTheLastQueue(t *testing.T) {
	blocks := block.NewPool(0)
	s, freed := newShared(4096)
	var queues [3]*Queue
	for i := range queues {
		queues[i] = Get(blocks)
		s.Add(1)
		if !queues[i].AppendShared(s, s.Bytes()) {
			t.Fatal("AppendShared has copied 4 KiB to an empty queue")
		}
	}
	noBlocksInUse(t, blocks)
	if s.Release() {
		t.Fatal("the creator's reference was the last")
	}
	runDue(queues[0].Consume(4096, nil))
	runDue(queues[1].Consume(4095, nil))
	runDue(queues[2].Drop(nil, nil))
	if *freed != 0 {
		t.Fatal("the function was due while a queue had a byte")
	}
	runDue(queues[1].Consume(1, nil))
	if *freed != 1 {
		t.Errorf("the function was due %d times, want once", *freed)
	}
	if s.Retain() {
		t.Error("Retain succeeded after the last Release")
	}
	for _, q := range queues {
		q.check(t)
		q.Put()
	}
}

func TestSharedMisusePanics(t *testing.T) {
	s, _ := newShared(1)
	s.Release()
	mustPanic(t, "released more often", func() { s.Release() })
	s, _ = newShared(1)
	s.Release()
	mustPanic(t, "nothing refers to", func() { s.Add(1) })
}

// Short slices behind others are copied, into the free part of a block if there is one; an empty
// one is not queued.
func TestShortSharedIsCopiedBehindOthers(t *testing.T) {
	blocks := block.NewPool(0)
	q := Get(blocks)
	s, _ := newShared(copiedBytes)
	if q.AppendShared(s, nil) || !q.Empty() {
		t.Fatal("an empty slice was queued")
	}
	q.Append([]byte("a"))
	if q.AppendShared(s, s.Bytes()) {
		t.Error("AppendShared refers to a short slice behind a block")
	}
	if bufs, n := q.Gather(make([][]byte, 0, 8)); len(bufs) != 1 || n != 1+copiedBytes {
		t.Errorf("a short slice behind a block makes %d buffers of %d bytes, want 1 of %d", len(bufs), n, 1+copiedBytes)
	}
	long, _ := newShared(copiedBytes + 1)
	if !q.AppendShared(long, long.Bytes()) {
		t.Error("AppendShared has copied a long slice")
	}
	q.Drop(nil, nil)
	q.Put()
	noBlocksInUse(t, blocks)
}

// BenchmarkAppend compares copies with references: 32 messages are queued behind another and sent
// to nobody.
func BenchmarkAppend(b *testing.B) {
	for _, size := range []int{32, 64, 128, 256, 512, 1024, 4096} {
		m := make([]byte, size)
		s := new(Shared)
		s.Init(m, func() {})
		bench := func(name string, add func(q *Queue)) {
			b.Run(fmt.Sprintf("%s/%d", name, size), func(b *testing.B) {
				b.ReportAllocs()
				blocks := block.NewPool(1 << 20)
				q, bufs := Get(blocks), make([][]byte, 0, 64)
				for b.Loop() {
					q.push(chunk{b: m})
					for range 32 {
						add(q)
					}
					_, n := q.Gather(bufs)
					q.bytes = n
					q.Consume(n, nil)
				}
				q.Put()
			})
		}
		bench("copy", func(q *Queue) { q.Append(m) })
		bench("shared", func(q *Queue) { s.Add(1); q.push(chunk{b: m, shared: s}) })
	}
}
