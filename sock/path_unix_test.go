//go:build unix

package sock_test

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/pollux-io/pollux/sock"
)

// A Unix listener removes only a path that it has bound itself.
func TestCloseRemovesOnlyWhatItBound(t *testing.T) {
	replacements := map[string]func(t *testing.T, path string){
		"another server": func(t *testing.T, path string) {
			l, err := sock.ListenUnix(path)
			must(t, err)
			t.Cleanup(func() { l.Close() })
		},
		"a datagram socket": func(t *testing.T, path string) {
			u, err := sock.ListenUnixDatagram(path)
			must(t, err)
			t.Cleanup(func() { u.Close() })
		},
		"a file": func(t *testing.T, path string) { must(t, os.WriteFile(path, nil, 0o600)) },
		"a link to it": func(t *testing.T, path string) {
			must(t, os.Symlink(filepath.Base(path)+".old", path))
		},
	}
	for what, replace := range replacements {
		path := filepath.Join(t.TempDir(), "s")
		old, err := sock.ListenUnix(path)
		must(t, err)
		must(t, os.Rename(path, path+".old"))
		replace(t, path)
		must(t, old.Close())
		if _, err := os.Lstat(path); err != nil {
			t.Errorf("Close has removed the path, which is now %s: %v", what, err)
		}
	}
}

func TestCloseRemovesAfterChdir(t *testing.T) {
	here, elsewhere := t.TempDir(), t.TempDir()
	t.Chdir(here)
	l, err := sock.ListenUnix("s")
	must(t, err)
	t.Chdir(elsewhere)
	must(t, os.WriteFile("s", nil, 0o600))
	must(t, l.Close())
	if _, err := os.Lstat("s"); err != nil {
		t.Errorf("Close has removed the file of that name in the new directory: %v", err)
	}
	if _, err := os.Lstat(filepath.Join(here, "s")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the path is left in the old directory: %v", err)
	}
}
