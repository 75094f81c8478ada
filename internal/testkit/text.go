package testkit

import "bytes"

// TextBytes is the period of Text: a prime, so that no size of a buffer divides it.
const TextBytes = 65521

// Text returns bytes that repeat after TextBytes, and in which lost, repeated and reordered ones are
// detected. Any slice of at most the given length, from any offset below TextBytes, is within them.
func Text(length int) []byte {
	b := make([]byte, 0, TextBytes)
	for x := uint32(1); len(b) < TextBytes; {
		x ^= x << 13
		x ^= x >> 17
		x ^= x << 5
		b = append(b, byte(x>>3))
	}
	return bytes.Repeat(b, 2+length/TextBytes)
}
