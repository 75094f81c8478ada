package sock

import (
	"io/fs"
	"os"
	"path/filepath"
)

// A boundPath is the file that binding a Unix socket has made. The path may be another's
// meanwhile: a server that starts again removes what the last one has left, and binds the
// path anew. So the file is known by itself (device and inode, os.SameFile), and it is
// looked for where it was made, whatever the working directory is then. The system keeps
// the inode for as long as the socket is open, so that no other file can have its number.
type boundPath struct {
	path string // absolute
	file fs.FileInfo
}

// madeByBind returns the file that bind has just made at path; nil if it is gone already.
func madeByBind(path string) *boundPath {
	if path == "" {
		return nil
	}
	if abs, err := filepath.Abs(path); err == nil {
		path = abs
	}
	file, err := os.Lstat(path)
	if err != nil {
		return nil
	}
	os.SameFile(file, file) // Windows looks at the file itself with the first comparison
	return &boundPath{path, file}
}

// remove removes the file, if it is there and the one that bind has made. It comes before
// the socket is closed. Unlinking by inode is what no system has: a server that replaces
// the file between the look and the unlink, a matter of microseconds, loses its path.
func (b *boundPath) remove() {
	if b == nil {
		return
	}
	if now, err := os.Lstat(b.path); err == nil && os.SameFile(now, b.file) {
		os.Remove(b.path)
	}
}
