package unread

import (
	"bytes"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/pollux-io/pollux/internal/block"
)

func noBlocksInUse(t *testing.T, blocks *block.Pool) {
	t.Helper()
	if s := blocks.Stats(); s.OutBlocks != 0 || s.OutBytes != 0 {
		t.Errorf("%d blocks of %d bytes are in use, want none", s.OutBlocks, s.OutBytes)
	}
}

// Random programs, each from its own seed, against a plain slice.
func TestL3bBufferIsAsAPlainSlice(t *testing.T) {
	for seed := range uint64(100) {
		r := rand.New(rand.NewPCG(seed, 0))
		blocks := block.NewPool(1 << 20)
		u := New(blocks)
		var want []byte
		next := byte(0)
		for range 200 {
			switch r.IntN(8) {
			case 0, 1, 2, 3:
				b := make([]byte, r.IntN(1<<r.IntN(13)))
				for i := range b {
					b[i] = next
					next++
				}
				u.Append(b)
				want = append(want, b...)
				clear(b) // it belongs to the driver
			case 4, 5, 6:
				n := r.IntN(len(want) + 1)
				u.Consume(n)
				want = want[n:]
			case 7:
				if r.IntN(8) == 0 {
					u.Free()
					want = nil
					noBlocksInUse(t, blocks)
				}
			}
			if !bytes.Equal(u.Bytes(), want) || u.Len() != len(want) {
				t.Fatalf("seed %d: the buffer has %d bytes, Len returns %d, want %d equal ones", seed, len(u.Bytes()), u.Len(), len(want))
			}
			if s := blocks.Stats(); s.OutBlocks > 1 {
				t.Fatalf("seed %d: %d blocks are in use, want one at most", seed, s.OutBlocks)
			}
		}
		u.Free()
		noBlocksInUse(t, blocks)
	}
}

// The free part in front of the unread bytes is used before a larger block is.
func TestSpaceOfConsumedBytesIsReused(t *testing.T) {
	blocks := block.NewPool(0)
	u := New(blocks)
	u.Append(make([]byte, 512))
	first := &u.Bytes()[0]
	for range 100 {
		u.Consume(300)
		u.Append(make([]byte, 300))
	}
	if &u.Bytes()[0] != first {
		t.Error("512 unread bytes were moved out of their block of 512 bytes")
	}
	u.Free()
	noBlocksInUse(t, blocks)
}

// While nothing is consumed, a byte is moved to a larger block a bounded number of times.
func TestGrowthIsGeometric(t *testing.T) {
	blocks := block.NewPool(0)
	u := New(blocks)
	moves, first := 0, (*byte)(nil)
	for range 8 << 10 {
		u.Append(make([]byte, 1<<10))
		if b := &u.Bytes()[0]; b != first {
			moves, first = moves+1, b
		}
	}
	if moves > 10 {
		t.Errorf("8 MiB were moved %d times", moves)
	}
	u.Free()
	noBlocksInUse(t, blocks)
}

func TestMisuseOfABufferPanics(t *testing.T) {
	blocks := block.NewPool(0)
	for n, want := range map[int]string{11: "11 bytes consumed, of 10", -1: "-1 bytes consumed, of 10"} {
		u := New(blocks)
		u.Append(make([]byte, 10))
		func() {
			defer func() {
				if got, ok := recover().(string); !ok || !strings.Contains(got, want) {
					t.Errorf("the panic is %q, want one with %q", got, want)
				}
			}()
			u.Consume(n)
		}()
		u.Free()
		u.Free() // has no effect
	}
	noBlocksInUse(t, blocks)
}

func TestBufferAllocatesNothing(t *testing.T) {
	u := New(block.NewPool(1 << 20))
	b := make([]byte, 5000)
	if n := testing.AllocsPerRun(100, func() {
		u.Append(b)
		u.Append(b)
		u.Consume(len(b))
		u.Append(b)
		u.Free()
	}); n != 0 {
		t.Errorf("%v allocations, want none", n)
	}
}
