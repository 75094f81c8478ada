// Package webfiles serves the files of a directory over HTTP, as http.FileServer does, and nothing outside of it.
package webfiles

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path"
	"path/filepath"
	"strings"
	"syscall"
)

// Options say what a Handler serves besides files.
type Options struct {
	List   bool // listings of directories without an index.html
	Hidden bool // names that begin with a dot; /.well-known is served in any case (RFC 8615)
}

// maxListed is how many entries a directory may have to be listed: its names are in memory, and sorted.
const maxListed = 10_000

const (
	indexPage = "index.html"
	wellKnown = ".well-known"
)

// Handler serves the files of root to GET and HEAD requests by package http's FileServer, with ranges and conditional
// requests; the entity tag has the file's size and time of modification.
//
// Symbolic links are followed within root. Those that lead out of it do not exist for clients, and neither do absolute
// ones, whatever they lead to (os.Root). Nor do devices, pipes and sockets, which could block or have side effects.
func Handler(root *os.Root, o Options) http.Handler { return &handler{root, o} }

type handler struct {
	root *os.Root
	Options
}

// ServeHTTP implements http.Handler.
func (h *handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		w.Header().Set("Allow", "GET, HEAD")
		http.Error(w, "405 method not allowed: this server has files only", http.StatusMethodNotAllowed)
		return
	}
	http.FileServer(request{h, w}).ServeHTTP(w, r)
}

// request is the file system as one request sees it.
type request struct {
	*handler
	w http.ResponseWriter
}

// Open implements http.FileSystem. It sets the entity tag, of the file that was opened last: that is the one which is
// sent.
func (r request) Open(name string) (http.File, error) {
	f, info, err := r.open(name)
	if err != nil {
		return nil, r.errorOf(name, err)
	}
	if info.IsDir() {
		return directory{f, r.Hidden}, nil
	}
	r.w.Header().Set("Etag", fmt.Sprintf(`"%x-%x"`, info.ModTime().UnixNano(), info.Size()))
	return f, nil
}

// errorOf returns an error that FileServer answers with 404, unless access was denied (403), or the system could not open
// the file now (500).
func (r request) errorOf(name string, err error) error {
	for _, known := range []error{fs.ErrPermission, syscall.EMFILE, syscall.ENFILE, syscall.ENOMEM, syscall.EIO} {
		if errors.Is(err, known) {
			return err
		}
	}
	return &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
}

// open opens the regular file or the directory of that name, an absolute path with slashes.
func (h *handler) open(name string) (f *os.File, info fs.FileInfo, err error) {
	local, err := filepath.Localize(strings.TrimPrefix(path.Clean("/"+name), "/"))
	switch {
	case path.Clean("/"+name) == "/":
		local = "."
	case err != nil:
		return nil, nil, err
	case !h.Hidden && hasHidden(name):
		return nil, nil, fs.ErrNotExist
	}
	// To open a device may have effects, so it is looked at before; O_NONBLOCK is for a pipe that
	// takes its place in between.
	if info, err = h.root.Stat(local); err != nil {
		return nil, nil, err
	}
	if !served(info) || info.IsDir() && !h.List && !h.hasIndex(local) {
		return nil, nil, fs.ErrNotExist
	}
	if f, err = h.root.OpenFile(local, os.O_RDONLY|nonblock, 0); err != nil {
		return nil, nil, err
	}
	if info, err = f.Stat(); err == nil && !served(info) {
		err = fs.ErrNotExist
	}
	if err != nil {
		f.Close()
		return nil, nil, err
	}
	return f, info, nil
}

// hasIndex reports whether a directory has an index page.
func (h *handler) hasIndex(dir string) bool {
	info, err := h.root.Stat(filepath.Join(dir, indexPage))
	return err == nil && info.Mode().IsRegular()
}

// served reports whether a file is of a kind that is served.
func served(info fs.FileInfo) bool { return info.Mode().IsRegular() || info.IsDir() }

// hasHidden reports whether a part of a path begins with a dot, other than /.well-known.
func hasHidden(name string) bool {
	for i, part := range strings.Split(strings.TrimPrefix(name, "/"), "/") {
		if isHidden(part) && (i > 0 || part != wellKnown) {
			return true
		}
	}
	return false
}

func isHidden(name string) bool { return strings.HasPrefix(name, ".") }

// directory is an open directory.
type directory struct {
	*os.File
	hidden bool
}

// ReadDir implements fs.ReadDirFile, without hidden names. n is ignored: FileServer reads all entries.
func (d directory) ReadDir(int) ([]fs.DirEntry, error) {
	all, err := d.File.ReadDir(maxListed + 1)
	switch {
	case err != nil && !errors.Is(err, io.EOF): // of an empty directory
		return nil, err
	case len(all) > maxListed:
		return nil, fmt.Errorf("list %s: it has more than %d entries; add an %s", d.Name(), maxListed, indexPage)
	}
	var shown []fs.DirEntry
	for _, e := range all {
		if d.hidden || !isHidden(e.Name()) {
			shown = append(shown, e)
		}
	}
	return shown, nil
}
