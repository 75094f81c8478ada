package websocket

import "unicode/utf8"

// textChecker checks UTF-8 that arrives in pieces, and notices an invalid byte as soon as it
// arrives. The zero textChecker is at the beginning of a text.
type textChecker struct {
	begun [utf8.UTFMax - 1]byte // the first bytes of a character whose rest has not arrived
	n     uint8
}

// add reports whether the text is valid so far, with the bytes of b after those before.
func (t *textChecker) add(b []byte) bool {
	for t.n > 0 && len(b) > 0 {
		var char [utf8.UTFMax]byte
		n := copy(char[:], t.begun[:t.n])
		char[n], b = b[0], b[1:]
		if !utf8.FullRune(char[:n+1]) {
			t.begun[n] = char[n]
			t.n++
			continue
		}
		if !utf8.Valid(char[:n+1]) {
			return false
		}
		t.n = 0
	}
	whole := wholeChars(b)
	if !utf8.Valid(b[:whole]) {
		return false
	}
	if whole < len(b) { // else t.begun may still be a beginning
		t.n = uint8(copy(t.begun[:], b[whole:]))
	}
	return true
}

// isWhole reports whether the text does not end inside of a character.
func (t *textChecker) isWhole() bool { return t.n == 0 }

// wholeChars returns the length of b without an incomplete character at its end. FullRune is true
// for bytes that cannot become a valid character, so these are not left out.
func wholeChars(b []byte) int {
	for i := len(b) - 1; i >= max(0, len(b)-utf8.UTFMax+1); i-- {
		if utf8.RuneStart(b[i]) {
			if !utf8.FullRune(b[i:]) {
				return i
			}
			break
		}
	}
	return len(b)
}
