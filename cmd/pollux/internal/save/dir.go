package save

import (
	"crypto/rand"
	"fmt"
	"os"
	"path/filepath"
)

// maxFileCalls is the maximum number of concurrent calls on files. Each blocks a thread, and
// Go aborts at 10,000 threads; more than a few do not make a disk faster.
const maxFileCalls = 16

// A Dir is an Output to files in one directory. A body is written under another name
// and renamed when it is complete, so that no file is ever truncated. Nothing is written
// outside the directory: every path goes through an os.Root.
type Dir struct {
	path  string
	root  *os.Root
	names []string
	run   string // distinguishes the incomplete files of this run from those of others
	calls chan struct{}
}

// NewDir opens the directory at path, or creates it, for files of these names, one
// for each index. Existing files of these names will be replaced.
func NewDir(path string, names []string) (*Dir, error) {
	if err := os.MkdirAll(path, 0o777); err != nil {
		return nil, err
	}
	root, err := os.OpenRoot(path)
	if err != nil {
		return nil, err
	}
	return &Dir{
		path: path, root: root, names: names, run: rand.Text()[:8],
		calls: make(chan struct{}, maxFileCalls),
	}, nil
}

// Close closes the directory.
func (d *Dir) Close() error { return d.root.Close() }

// Create implements Output.
func (d *Dir) Create(index int) (Body, error) {
	defer d.acquire()()
	b := &fileBody{Dir: d, name: d.names[index], partName: fmt.Sprintf(".pollux-%s-%d.part", d.run, index)}
	var err error
	b.f, err = d.root.OpenFile(b.partName, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o666)
	if err != nil {
		return nil, b.pathError(err)
	}
	return b, nil
}

// acquire waits for one of maxFileCalls; the returned function releases it.
func (d *Dir) acquire() func() {
	d.calls <- struct{}{}
	return func() { <-d.calls }
}

type fileBody struct {
	*Dir
	f              *os.File
	name, partName string
}

func (b *fileBody) Write(p []byte) (int, error) {
	defer b.acquire()()
	n, err := b.f.Write(p)
	return n, b.pathError(err)
}

// Commit implements Body. Close may return the error of a full disk.
func (b *fileBody) Commit() error {
	defer b.acquire()()
	err := b.f.Close()
	if err == nil {
		err = b.root.Rename(b.partName, b.name)
	}
	if err != nil {
		remove(b.root, b.partName)
	}
	return b.pathError(err)
}

// pathError adds the final path of the file to err.
func (b *fileBody) pathError(err error) error {
	if err == nil {
		return nil
	}
	return &os.PathError{Op: "store", Path: filepath.Join(b.path, b.name), Err: err}
}

// Abort implements Body.
func (b *fileBody) Abort() bool {
	defer b.acquire()()
	b.f.Close()
	return remove(b.root, b.partName) == nil
}
