package save

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/pollux-io/pollux/internal/testkit"
)

func write(t *testing.T, o Output, index int, text string) Body {
	t.Helper()
	b, err := o.Create(index)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := b.Write([]byte(text)); err != nil {
		t.Fatal(err)
	}
	return b
}

// A file appears when it is complete, replaces an older one, and leaves nothing behind
// when it is aborted. A symbolic link does not lead out of the directory.
func TestDir(t *testing.T) {
	dir, outside := testkit.TempDir(t), filepath.Join(testkit.TempDir(t), "victim")
	os.WriteFile(outside, []byte("untouched"), 0o600)
	os.WriteFile(filepath.Join(dir, "a"), []byte("old and longer"), 0o600)
	linked := os.Symlink(outside, filepath.Join(dir, "link")) == nil
	os.Mkdir(filepath.Join(dir, "taken"), 0o700)
	d, err := NewDir(dir, []string{"a", "b", "link", "taken"})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()

	a, b := write(t, d, 0, "new"), write(t, d, 1, "half")
	if got, _ := os.ReadFile(filepath.Join(dir, "a")); string(got) != "old and longer" {
		t.Errorf("before Commit: %q", got)
	}
	if err := a.Commit(); err != nil {
		t.Error(err)
	}
	if got, _ := os.ReadFile(filepath.Join(dir, "a")); string(got) != "new" {
		t.Errorf("after Commit: %q", got)
	}
	if !b.Abort() {
		t.Error("Abort returned false")
	}
	if linked {
		if err := write(t, d, 2, "through the link").Commit(); err != nil {
			t.Error(err)
		}
		if got, _ := os.ReadFile(outside); string(got) != "untouched" {
			t.Errorf("the link's target: %q", got)
		}
	}
	if err := write(t, d, 3, "x").Commit(); err == nil {
		t.Error("Commit replaced a directory by a file")
	}
	left, _ := filepath.Glob(filepath.Join(dir, ".pollux-*"))
	if len(left) > 0 {
		t.Errorf("left behind: %q", left)
	}
}

// Bodies that end in any order are written in the order of their indexes; a failed one is
// left out, and one whose turn never comes leaves nothing behind.
func TestSpool(t *testing.T) {
	var out bytes.Buffer
	s, err := NewSpool(&out, 6)
	if err != nil {
		t.Fatal(err)
	}
	for i, text := range []string{"zero ", "one ", "", "three"} {
		if text != "" {
			write(t, s, i, text).Commit()
		}
	}
	for i, want := range map[int]string{3: "", 1: ""} {
		if s.Ended(i, true); out.String() != want {
			t.Errorf("after %d: %q", i, out.String())
		}
	}
	s.Ended(0, true)
	if out.String() != "zero one " {
		t.Errorf("after 0: %q", out.String())
	}
	s.Ended(2, false)
	if out.String() != "zero one three" {
		t.Errorf("after 2: %q", out.String())
	}
	write(t, s, 5, "its turn never comes").Commit()
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(s.path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("%s was not removed", s.path)
	}
}

// A body that was written in part cannot be aborted.
func TestStream(t *testing.T) {
	var out bytes.Buffer
	s := NewStream(&out)
	b, _ := s.Create(0)
	if !b.Abort() {
		t.Error("Abort returned false although nothing was written")
	}
	if write(t, s, 0, "x").Abort() {
		t.Error("Abort returned true although x was written")
	}
}
