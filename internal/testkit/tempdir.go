package testkit

import (
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/pollux-io/pollux/internal/sys"
)

// TempDir returns t.TempDir. On Wine 8 os.RemoveAll fails with ERROR_INVALID_FUNCTION for a
// directory that is not empty, so there the end of the test removes its files first, one by one.
func TempDir(t testing.TB) string {
	t.Helper()
	dir := t.TempDir()
	if sys.OnWine() {
		t.Cleanup(func() { removeAll(t, dir) })
	}
	return dir
}

func removeAll(t testing.TB, dir string) {
	var paths []string
	err := filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
		paths = append(paths, path)
		return err
	})
	if err != nil {
		t.Error(err)
	}
	for _, p := range slices.Backward(paths) {
		if err := os.Remove(p); err != nil {
			t.Error(err)
		}
	}
}
