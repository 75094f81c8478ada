package testkit

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// recorder is a test whose failures and skips do not count.
type recorder struct {
	testing.TB
	failed   string
	skipped  string
	cleanups []func()
}

func (r *recorder) Helper()          {}
func (r *recorder) Cleanup(f func()) { r.cleanups = append(r.cleanups, f) }
func (r *recorder) Error(a ...any)   { r.failed += fmt.Sprint(a...) }

func (r *recorder) Errorf(format string, a ...any) { r.failed += fmt.Sprintf(format, a...) }
func (r *recorder) Skip(a ...any)                  { r.skipped = fmt.Sprint(a...) }

// A goroutine that does not end is a leak, and the message has its stack.
func TestLeakOfGoroutine(t *testing.T) {
	before := CountUsage()
	release := make(chan bool)
	const n = 10 // one would not do: of those counted before, some may just be ending
	for range n {
		go leakingGoroutine(release)
	}
	leak := before.leakAfter(10 * time.Millisecond)
	if !strings.Contains(leak, "leak: ") || !strings.Contains(leak, "leakingGoroutine") {
		t.Errorf("with %d more goroutines, Leak returns %q", n, leak)
	}
	close(release)
	before.Check(t)
}

func leakingGoroutine(release chan bool) { <-release }

// A descriptor that is not closed is a leak, a file's and a socket's.
func TestLeakOfDescriptor(t *testing.T) {
	switch runtime.GOOS {
	case "linux", "darwin", "windows":
	default:
		t.Skip("skipped: on this system /dev/fd may list other descriptors than the open ones (fdescfs(5))")
	}
	for what, open := range map[string]func() (interface{ Close() error }, error){
		"file":   func() (interface{ Close() error }, error) { return os.Open(os.Args[0]) },
		"socket": func() (interface{ Close() error }, error) { return net.Listen("tcp", "127.0.0.1:0") },
	} {
		before := CountUsage()
		c, err := open()
		if err != nil {
			t.Fatal(err)
		}
		if leak := before.leakAfter(10 * time.Millisecond); !strings.Contains(leak, "leak: ") {
			t.Errorf("with one more %s, Leak returns %q", what, leak)
		}
		c.Close()
		before.Check(t)
	}
}

// CheckLeaks checks once per test, after the cleanups that were added later.
func TestCheckLeaks(t *testing.T) {
	r := &recorder{TB: t}
	CheckLeaks(r)
	CheckLeaks(r)
	if len(r.cleanups) != 1 {
		t.Fatalf("two calls have added %d cleanups, want 1", len(r.cleanups))
	}
	r.cleanups[0]()
	if r.failed != "" {
		t.Errorf("without a leak: %s", r.failed)
	}
}

func TestEventually(t *testing.T) {
	calls := 0
	if !Eventually(func() bool { calls++; return calls == 3 }) || calls != 3 {
		t.Errorf("%d calls, want 3", calls)
	}
	if within(time.Millisecond, func() bool { return false }) {
		t.Error("a condition that never holds was met")
	}
}

// The limit leaves as many descriptors as requested, also if numbers between open ones are free,
// and restore gives the rest back.
func TestLimitDescriptors(t *testing.T) {
	for _, free := range []int{0, 1, 5} {
		t.Run(fmt.Sprint(free, " free"), func(t *testing.T) {
			if !InChild(t) {
				return
			}
			var files []*os.File
			open := func() error {
				f, err := os.Open(os.DevNull)
				if err == nil {
					files = append(files, f)
				}
				return err
			}
			for range 6 {
				if err := open(); err != nil {
					t.Fatal(err)
				}
			}
			files[1].Close()
			files[4].Close()
			restore := LimitDescriptors(t, free)
			for range free {
				if err := open(); err != nil {
					t.Fatal(err)
				}
			}
			if err := open(); !errors.Is(err, syscall.EMFILE) {
				t.Errorf("opening one more: %v, want EMFILE", err)
			}
			restore()
			if err := open(); err != nil {
				t.Error("after restore: ", err)
			}
		})
	}
}

// In the child only that test runs, whatever characters its name has.
func TestInChild(t *testing.T) {
	t.Run("a (b|c)*[d] + $", func(t *testing.T) {
		if InChild(t) {
			t.Setenv("POLLUX_TEST_ONLY_IN_CHILD", "1")
		} else if os.Getenv("POLLUX_TEST_ONLY_IN_CHILD") != "" {
			t.Error("a change of the child is seen in its parent")
		}
	})
	t.Run("other", func(t *testing.T) {
		if IsChild() {
			t.Fatal("the child runs another test")
		}
	})
	if p := runPattern("Test/a.b"); !regexp.MustCompile(strings.Split(p, "/")[1]).MatchString("a.b") || regexp.MustCompile(strings.Split(p, "/")[1]).MatchString("axb") {
		t.Errorf("%q does not select a.b only", p)
	}
}

func TestCPUTime(t *testing.T) {
	before, ok := CPUTime()
	if !ok {
		t.Skip("skipped: this system does not report processor time")
	}
	if !Eventually(func() bool { now, _ := CPUTime(); return now > before }) {
		t.Error("a busy process uses no processor time")
	}
}

func TestBuffer(t *testing.T) {
	var b Buffer
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() { fmt.Fprint(&b, "text"); _ = b.String() })
	}
	wg.Wait()
	if b.String() != strings.Repeat("text", 4) {
		t.Errorf("got %q", b.String())
	}
}

// A directory with files and directories is removed at the end of the test, on Wine as well.
func TestTempDir(t *testing.T) {
	var dir string
	t.Run("user", func(t *testing.T) {
		dir = TempDir(t)
		if err := os.MkdirAll(filepath.Join(dir, "a", "b"), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, "a", "b", "c"), []byte("x"), 0o644); err != nil {
			t.Fatal(err)
		}
	})
	if _, err := os.Stat(dir); !os.IsNotExist(err) {
		t.Errorf("after the test: %v, want that the directory does not exist", err)
	}
}

func TestSilentHost(t *testing.T) {
	t.Setenv(SilentEnv, "")
	r := &recorder{TB: t}
	SilentHost(r)
	if !strings.Contains(r.skipped, SilentEnv) { // .ci/run searches for it
		t.Errorf("without an address: skipped with %q", r.skipped)
	}
	t.Setenv(SilentEnv, "192.0.2.1")
	if a := SilentHost(t); a.String() != "192.0.2.1" {
		t.Errorf("got %v", a)
	}
}

// A backend that is not usable is skipped with the reason, and one that is not forced with the one that is.
func TestSkipBackend(t *testing.T) {
	for _, c := range []struct {
		forced string
		usable bool
		want   string
	}{
		{"", true, ""},
		{"", false, "no kernel has it"},
		{"pigeon", true, ""},
		{"pigeon", false, "no kernel has it"},
		{"epoll", true, "POLLUX_BACKEND forces epoll"},
	} {
		t.Setenv("POLLUX_BACKEND", c.forced)
		r := &recorder{TB: t}
		SkipBackend(r, "pigeon", c.usable, "no kernel has it")
		if c.want == "" && r.skipped != "" || !strings.Contains(r.skipped, c.want) {
			t.Errorf("forced %q, usable %v: skipped with %q, want %q", c.forced, c.usable, r.skipped, c.want)
		}
	}
}

func TestLong(t *testing.T) {
	t.Setenv(LongEnv, "")
	if Long() {
		t.Error("the long runs are enabled without a request")
	}
	t.Setenv(LongEnv, "1")
	if !Long() {
		t.Error("the long runs are not enabled")
	}
}

type leaky struct{ Field []leakyInner }

type leakyInner struct{}

func (leaky) Method() func(map[string]*leakyInner) { return nil }

// CheckPublic finds types of internal packages in fields and methods, however nested.
func TestCheckPublic(t *testing.T) {
	r := &recorder{TB: t}
	CheckPublic(r, []reflect.Type{reflect.TypeFor[leaky](), reflect.TypeFor[time.Time]()}, nil)
	if !strings.Contains(r.failed, "leaky.Method") || !strings.Contains(r.failed, "leaky.Field") || strings.Contains(r.failed, "time.") {
		t.Errorf("the errors are %q, want those of Method and Field", r.failed)
	}
	r.failed = ""
	CheckPublic(r, []reflect.Type{reflect.TypeFor[leaky]()}, []reflect.Type{reflect.TypeFor[leakyInner]()})
	if r.failed != "" {
		t.Errorf("an allowed type is an error: %q", r.failed)
	}
}
