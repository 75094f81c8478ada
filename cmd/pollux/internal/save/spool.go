package save

import (
	"io"
	"io/fs"
	"os"
	"strconv"
)

// A Spool is an Output for many bodies on one stream. They are received in any order and
// at the same time; each waits in a temporary file until those before it are written.
// So bodies are never mixed, and a failed one leaves nothing behind.
type Spool struct {
	*Dir
	w     io.Writer
	next  int
	ended map[int]bool // jobs that ended before their turn; true if there is a body
	total int
}

// NewSpool returns a Spool for total bodies. Close removes its files.
func NewSpool(w io.Writer, total int) (*Spool, error) {
	path, err := os.MkdirTemp("", "pollux-")
	if err != nil {
		return nil, err
	}
	names := make([]string, total)
	for i := range names {
		names[i] = strconv.Itoa(i)
	}
	dir, err := NewDir(path, names)
	if err != nil {
		os.RemoveAll(path)
		return nil, err
	}
	return &Spool{Dir: dir, w: w, total: total, ended: make(map[int]bool)}, nil
}

// Ended records that a job has ended, and writes the bodies whose turn it is. Only one
// goroutine may call it.
func (s *Spool) Ended(index int, ok bool) error {
	s.ended[index] = ok
	for ; s.next < s.total; s.next++ {
		ok, known := s.ended[s.next]
		if !known {
			return nil
		}
		delete(s.ended, s.next)
		if !ok {
			continue
		}
		if err := s.send(s.names[s.next]); err != nil {
			return err
		}
	}
	return nil
}

func (s *Spool) send(name string) error {
	f, err := s.root.Open(name)
	if err != nil {
		return err
	}
	defer remove(s.root, name)
	defer f.Close()
	_, err = io.Copy(s.w, f)
	return err
}

// Close removes the remaining files, one by one, since os.RemoveAll fails under Wine like
// os.Root.Remove.
func (s *Spool) Close() error {
	files, _ := fs.ReadDir(s.root.FS(), ".")
	for _, f := range files {
		remove(s.root, f.Name())
	}
	s.root.Close()
	return os.RemoveAll(s.path)
}
