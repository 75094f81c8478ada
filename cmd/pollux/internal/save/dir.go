package save

import (
	"crypto/rand"
	"fmt"
	"os"
	"path/filepath"
)

// maxFileCalls is how many calls on files run at once. Each blocks a thread, and
// Go gives up at 10,000 of them; a disk has no use for more than a few.
const maxFileCalls = 16

// A Dir is an Output to files of one folder. A body is written under another name
// and renamed when it is whole, so that no file is ever short. Nothing is written
// outside: every path goes through an os.Root.
type Dir struct {
	path  string
	root  *os.Root
	names []string
	run   string // tells the unfinished files of this run from those of others
	calls chan struct{}
}

// NewDir opens the folder at path, made if need be, for files of these names, one
// for each index. Files of these names that are there already will be replaced.
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

// Close closes the folder.
func (d *Dir) Close() error { return d.root.Close() }

// Create implements Output.
func (d *Dir) Create(index int) (Body, error) {
	defer d.call()()
	b := &fileBody{Dir: d, name: d.names[index], unfinished: fmt.Sprintf(".pollux-%s-%d.part", d.run, index)}
	var err error
	b.f, err = d.root.OpenFile(b.unfinished, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o666)
	if err != nil {
		return nil, b.failed(err)
	}
	return b, nil
}

// call waits until a call on a file may be made; what it returns ends that.
func (d *Dir) call() func() {
	d.calls <- struct{}{}
	return func() { <-d.calls }
}

type fileBody struct {
	*Dir
	f                *os.File
	name, unfinished string
}

func (b *fileBody) Write(p []byte) (int, error) {
	defer b.call()()
	n, err := b.f.Write(p)
	return n, b.failed(err)
}

// Commit implements Body. Close may be what tells of a full disk.
func (b *fileBody) Commit() error {
	defer b.call()()
	err := b.f.Close()
	if err == nil {
		err = b.root.Rename(b.unfinished, b.name)
	}
	if err != nil {
		remove(b.root, b.unfinished)
	}
	return b.failed(err)
}

// failed names the file as its reader knows it.
func (b *fileBody) failed(err error) error {
	if err == nil {
		return nil
	}
	return &os.PathError{Op: "store", Path: filepath.Join(b.path, b.name), Err: err}
}

// Abort implements Body.
func (b *fileBody) Abort() bool {
	defer b.call()()
	b.f.Close()
	return remove(b.root, b.unfinished) == nil
}
