package simtest

import (
	"bytes"

	"github.com/pollux-io/pollux/internal/testkit"
)

// A flow is one direction of a connection: the bytes that one end sends. Its stream repeats text,
// beginning at offset.
type flow struct {
	offset  int
	offered int // bytes that were given to writes
	sent    int // bytes that writes have accepted
	seen    int // bytes that the other end has received
	arrived int // bytes that had certainly arrived at the other end's host when the sender ended
}

const maxChunk = 256 << 10

var text = testkit.Text(maxChunk)

// text returns n bytes of the stream, at most maxChunk.
func (f *flow) text(at, n int) []byte {
	from := (f.offset + at) % testkit.TextBytes
	return text[from : from+n]
}

// differs returns the offset in the stream of the first byte of b that is not that of the stream at the
// given offset, or -1.
func (f *flow) differs(b []byte, at int) int {
	for len(b) > 0 {
		n := min(len(b), maxChunk)
		want := f.text(at, n)
		if !bytes.Equal(b[:n], want) {
			i := 0
			for b[i] == want[i] {
				i++
			}
			return at + i
		}
		b, at = b[n:], at+n
	}
	return -1
}

// bytes returns a copy of n bytes of the stream.
func (f *flow) bytes(at, n int) []byte {
	b := make([]byte, 0, n)
	for len(b) < n {
		b = append(b, f.text(at+len(b), min(maxChunk, n-len(b)))...)
	}
	return b
}
