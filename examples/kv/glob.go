package main

// matches reports whether s matches a pattern of KEYS: * any bytes, ? one byte, [a-z] and
// [^a-z] one of a set, \ the next byte as it is.
//
// When a byte does not match, the last * takes one byte more; no earlier one need be
// tried again, so the time is bounded by the product of the lengths. Clients choose both
// lengths, and all clients wait meanwhile: so the number of steps is limited, for all matches
// of one command together. When no steps are left, nothing matches.
func matches(pattern []byte, s string, steps *int) bool {
	p, i := 0, 0
	star, resume := -1, 0 // the last *, and where in s the rest was tried
	for i < len(s) {
		if *steps--; *steps < 0 {
			return false
		}
		if p < len(pattern) && pattern[p] == '*' {
			star, resume = p, i
			p++
			continue
		}
		n, ok := matchByte(pattern[p:], s[i])
		*steps -= n
		if ok {
			p += n
			i++
			continue
		}
		if star < 0 {
			return false
		}
		resume++
		p, i = star+1, resume
	}
	for p < len(pattern) && pattern[p] == '*' {
		p++
	}
	return p == len(pattern)
}

// maxSteps is the limit of steps, about a tenth of a second.
const maxSteps = 30_000_000

// matchByte matches c with the first element of a pattern, n bytes long.
func matchByte(pattern []byte, c byte) (n int, ok bool) {
	switch {
	case len(pattern) == 0:
		return 0, false
	case pattern[0] == '?':
		return 1, true
	case pattern[0] == '[':
		return matchSet(pattern, c)
	case pattern[0] == '\\' && len(pattern) > 1:
		return 2, pattern[1] == c
	}
	return 1, pattern[0] == c
}

// matchSet matches c with a set. An unclosed set ends with the pattern.
func matchSet(pattern []byte, c byte) (n int, ok bool) {
	i := 1
	not := i < len(pattern) && pattern[i] == '^'
	if not {
		i++
	}
	for ; i < len(pattern) && pattern[i] != ']'; i++ {
		if pattern[i] == '\\' && i+1 < len(pattern) {
			i++
		}
		from, to := pattern[i], pattern[i]
		if i+2 < len(pattern) && pattern[i+1] == '-' {
			to = pattern[i+2]
			i += 2
		}
		ok = ok || min(from, to) <= c && c <= max(from, to)
	}
	return min(i+1, len(pattern)), ok != not
}
