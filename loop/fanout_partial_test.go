package loop

import (
	"bytes"
	"fmt"
	"testing"

	"github.com/pollux-io/pollux/internal/driver"
)

// partialSends is a driver whose sends take a number of bytes: each the next of takes, and after those
// everything.
type partialSends struct {
	noKernel
	takes []int
	got   bytes.Buffer
}

func (d *partialSends) Send(_ *driver.Stream, bufs [][]byte) (int, error) {
	b := bytes.Join(bufs, nil)
	if len(d.takes) > 0 {
		b = b[:min(len(b), d.takes[0])]
		d.takes = d.takes[1:]
	}
	d.got.Write(b)
	return len(b), nil
}

// L3: if the kernel takes only the beginning of a batch of a Fanout, wherever that ends, the member
// gets the rest later, and each byte once.
func TestL3FanoutPartialSend(t *testing.T) {
	for _, sizes := range [][]int{
		{5},
		{7, 1, 4, 9},
		{3, joinedTestBytes, 2, 6}, // too large to be joined
	} {
		for _, members := range []int{1, 2} { // with two, a short batch is one buffer
			var want []byte
			freed, total := 0, 0
			for i, n := range sizes {
				for j := range n {
					want = append(want, byte(i*50+j*7+j>>8))
				}
				total += n
			}
			for at := 0; at <= total; at++ {
				if at > 40 && at < total-40 && at%1009 != 0 {
					continue // inside the large message
				}
				checkPartialSend(t, fmt.Sprintf("%v, %d members, at %d", sizes, members, at), sizes, want, members, at, &freed)
			}
			if t.Failed() {
				return
			}
		}
	}
}

const joinedTestBytes = maxJoinedBytes + 100

func checkPartialSend(t *testing.T, what string, sizes []int, want []byte, members, at int, freed *int) {
	t.Helper()
	d := &partialSends{}
	l := newStandingLoop(t, d)
	l.awake.Store(true)
	f := NewFanout(FanoutConfig{})
	var conns []*Conn
	for range members {
		c := l.newConn()
		c.phase = open
		if err := f.Add(c); err != nil {
			t.Fatal(err)
		}
		conns = append(conns, c)
	}
	*freed = 0
	for rest := want; len(rest) > 0; {
		n := sizes[0]
		sizes = sizes[1:]
		b := bytes.Clone(rest[:n])
		rest = rest[n:]
		s := NewSharedFunc(b, func() { clear(b); *freed++ }) // what is sent later is wrong
		if err := f.Send(s); err != nil {
			t.Fatal(err)
		}
		s.Release()
	}
	messages := len(f.parts[0].pending.items)
	for range members {
		d.takes = append(d.takes, at)
	}
	l.doInbox()
	if got, beginning := d.got.Bytes(), bytes.Repeat(want[:at], members); !bytes.Equal(got, beginning) {
		t.Fatalf("%s: the first sends took %d bytes, want the first %d of each member", what, len(got), at)
	}
	for i, c := range conns {
		if n := c.Unsent(); n != len(want)-at {
			t.Errorf("%s: %d bytes are unsent, want %d", what, n, len(want)-at)
		}
		if at == len(want) {
			continue
		}
		d.got.Reset()
		c.sent(0, nil)
		if !bytes.Equal(d.got.Bytes(), want[at:]) {
			t.Errorf("%s: member %d got %d bytes later, want the other %d, once and in order", what, i, d.got.Len(), len(want)-at)
		}
	}
	if s := f.Stats(); *freed != messages || s.PendingBytes != 0 || s.Deliveries != uint64(messages*members) || s.Skipped != 0 {
		t.Errorf("%s: %d of %d messages are free: %+v", what, *freed, messages, s)
	}
	if n := l.blocks.Stats().OutBlocks; n != 0 {
		t.Errorf("%s: %d blocks are in use", what, n)
	}
}
