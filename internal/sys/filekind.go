package sys

// IsAlwaysReady reports whether poll(2) always reports files of the kind, a result of
// FileKind, as ready.
func IsAlwaysReady(kind string) bool {
	return kind == "regular file" || kind == "directory" || kind == "block device"
}
