package driver

import "slices"

// Room returns s with room for one more, by doubling. Append grows a long slice by a
// quarter: what it leaves behind comes to four times the slice, and of lists with an
// entry for each connection that is memory for each connection.
func Room[T any](s []T) []T {
	if len(s) < cap(s) {
		return s
	}
	return slices.Grow(s, max(len(s), firstRoom))
}

const firstRoom = 64
