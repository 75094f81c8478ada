package dnsconf

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"time"
)

// A FileError reports that a file cannot be read. Unwrap returns the system's error, such as one that
// matches fs.ErrNotExist.
type FileError struct {
	Path string
	Err  error
}

func (e *FileError) Error() string { return fmt.Sprintf("configuration of the resolver: %v", e.Err) }
func (e *FileError) Unwrap() error { return e.Err }

// racyAge is how old a file must be when it is read, for its time and size to prove later that it has not changed:
// some file systems count time in steps of two seconds, in which a file may change again.
const racyAge = 3 * time.Second

// A file is the last known state of a file. One goroutine at a time may use it.
type file struct {
	path  string // "": the system has no such file
	limit int    // in bytes; one more is read, so that the parser notices

	info  fs.FileInfo // when it was read; nil if it was not
	fresh bool        // it was too young then for info to prove anything
	data  string
	err   error // a *FileError
}

// update reads the file if it may have changed, and reports whether data is to be parsed again. If
// it does not exist, data is "". After another error, data is what it was: the file may be readable again soon.
func (f *file) update(now time.Time) (changed bool) {
	if f.path == "" {
		return false
	}
	info, err := os.Stat(f.path)
	if err != nil {
		return f.failed(err)
	}
	if f.info != nil && !f.fresh && os.SameFile(info, f.info) && info.ModTime().Equal(f.info.ModTime()) && info.Size() == f.info.Size() {
		return false
	}
	data, err := "", error(&fs.PathError{Op: "read", Path: f.path, Err: errNotRegular})
	if info.Mode().IsRegular() { // opening a FIFO would wait for a writer
		data, err = readFile(f.path, f.limit)
	}
	if err != nil {
		return f.failed(err)
	}
	// info is from before reading: a change since then is noticed next time.
	changed = f.data != data
	f.info, f.fresh, f.data, f.err = info, now.Sub(info.ModTime()) < racyAge, data, nil
	return changed
}

func (f *file) failed(err error) (changed bool) {
	f.info, f.err = nil, &FileError{f.path, err}
	if changed = isMissing(err) && f.data != ""; changed {
		f.data = ""
	}
	return changed
}

// errNotRegular reports a path of something else than a file.
var errNotRegular = errors.New("not a regular file")

// isMissing reports whether a file does not exist, for which there are defaults.
func isMissing(err error) bool { return errors.Is(err, fs.ErrNotExist) }

// readFile returns the content of a file, at most limit+1 bytes.
func readFile(path string, limit int) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, int64(limit)+1))
	return string(data), err
}
