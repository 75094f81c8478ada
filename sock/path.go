package sock

import (
	"io/fs"
	"os"
	"path/filepath"
)

// A boundPath is the file that bind has created for a Unix socket. Later the path may
// belong to another socket: a server that restarts removes the file of its predecessor and
// binds the path again. So the file is identified by device and inode (os.SameFile), and
// looked up by its absolute path, whatever the working directory is then. The system keeps
// the inode while the socket is open, so no other file can get its number.
type boundPath struct {
	path string // absolute
	file fs.FileInfo
}

// createdByBind returns the file that bind has just created at path, or nil if it is already
// gone.
func createdByBind(path string) *boundPath {
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
	os.SameFile(file, file) // on Windows the first comparison reads the file's identity
	return &boundPath{path, file}
}

// remove removes the file if the path still refers to it. It must be called before the
// socket is closed. No system can unlink by inode: if another server replaces the file in
// the microseconds between Lstat and Remove, it loses its path.
func (b *boundPath) remove() {
	if b == nil {
		return
	}
	if now, err := os.Lstat(b.path); err == nil && os.SameFile(now, b.file) {
		os.Remove(b.path)
	}
}
