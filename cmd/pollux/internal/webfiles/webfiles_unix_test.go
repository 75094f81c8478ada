//go:build unix

package webfiles

import (
	"net"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

// A named pipe, a socket and a device do not exist for clients, and a pipe does not block the server.
func TestSpecialFilesAreNotServed(t *testing.T) {
	dir := tree(t)
	if err := unix.Mkfifo(filepath.Join(dir, "pipe"), 0o644); err != nil {
		t.Skip("no named pipes: ", err)
	}
	if err := os.Symlink("pipe", filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("unix", filepath.Join(dir, "socket"))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	for _, target := range []string{"/pipe", "/link", "/socket"} {
		if r := ask(t, dir, Options{}, "GET", target); r.StatusCode != 404 {
			t.Errorf("%s: status %d", target, r.StatusCode)
		}
	}
	// As if the pipe had replaced a file after it was looked at.
	root, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	f, err := root.OpenFile("pipe", os.O_RDONLY|nonblock, 0)
	if err != nil {
		t.Fatal(err)
	}
	f.Close()
}

func TestForbiddenFile(t *testing.T) {
	if os.Geteuid() == 0 {
		t.Skip("root may read every file")
	}
	dir := tree(t)
	if err := os.Chmod(filepath.Join(dir, "a.txt"), 0); err != nil {
		t.Fatal(err)
	}
	if r := ask(t, dir, Options{}, "GET", "/a.txt"); r.StatusCode != 403 {
		t.Errorf("status %d, want 403", r.StatusCode)
	}
}
