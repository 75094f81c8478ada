package dnscache

import "strings"

func isUpper(c byte) bool { return 'A' <= c && c <= 'Z' }

func hasUpper(s string) bool {
	for i := range len(s) {
		if isUpper(s[i]) {
			return true
		}
	}
	return false
}

// fold replaces ASCII capital letters by small ones. Other bytes have no case in DNS (RFC 4343).
func fold(name []byte) {
	for i, c := range name {
		if isUpper(c) {
			name[i] = c + 'a' - 'A'
		}
	}
}

// foldedCopy returns s in lower case, in memory of its own.
func foldedCopy(s string) string {
	if !hasUpper(s) {
		return strings.Clone(s)
	}
	b := []byte(s)
	fold(b)
	return string(b)
}
