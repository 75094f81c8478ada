package sys

// IsAlwaysReady reports whether poll(2) calls files of a kind, as FileKind names it, ready
// at all times.
func IsAlwaysReady(kind string) bool {
	return kind == "regular file" || kind == "directory" || kind == "block device"
}
