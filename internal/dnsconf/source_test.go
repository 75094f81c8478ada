package dnsconf

import (
	"errors"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pollux-io/pollux/internal/testkit"
)

// A machine has files, an environment and a clock to change.
type machine struct {
	t     testing.TB
	paths Paths

	mu       sync.Mutex
	environ  map[string]string
	hostname string
	// hold, if not nil, is what a check waits for at its start.
	hold  chan struct{}
	calls int // checks that have begun
}

func newMachine(t testing.TB) *machine {
	testkit.CheckLeaks(t)
	dir := testkit.TempDir(t)
	return &machine{t: t, environ: map[string]string{}, hostname: "host", paths: Paths{
		Resolv: filepath.Join(dir, "resolv.conf"), NSSwitch: filepath.Join(dir, "nsswitch.conf"), Hosts: filepath.Join(dir, "hosts"),
	}}
}

func (m *machine) open() *Source {
	m.t.Helper()
	s := Open(Config{Paths: m.paths, Environ: m.getenv, Hostname: m.name})
	m.t.Cleanup(s.Close)
	return s
}

func (m *machine) getenv(key string) (string, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	value, ok := m.environ[key]
	return value, ok
}

func (m *machine) name() (string, error) {
	m.mu.Lock()
	hold, name := m.hold, m.hostname
	m.calls++
	m.mu.Unlock()
	if hold != nil {
		<-hold
	}
	if name == "" {
		return "", errors.New("no name")
	}
	return name, nil
}

func (m *machine) set(change func()) {
	m.mu.Lock()
	defer m.mu.Unlock()
	change()
}

func (m *machine) checks() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.calls
}

// write replaces a file at once by another, of the given age.
func (m *machine) write(path, data string, age time.Duration) {
	m.t.Helper()
	when := time.Now().Add(-age)
	next := path + ".next"
	if err := errors.Join(os.WriteFile(next, []byte(data), 0o600), os.Chtimes(next, when, when)); err != nil {
		m.t.Error(err)
	}
	// Windows refuses while a check has the file open.
	if err := error(nil); !testkit.Eventually(func() bool { err = os.Rename(next, path); return err == nil }) {
		m.t.Error(err)
	}
}

// A clock is what tests pass to Snapshot. Each tick exceeds the interval.
type clock struct{ now time.Duration }

// next lets checks run until the snapshot satisfies ok.
func (c *clock) next(t testing.TB, s *Source, ok func(*Snapshot) bool) *Snapshot {
	t.Helper()
	var last *Snapshot
	if !testkit.Eventually(func() bool {
		c.now += DefaultInterval
		last = s.Snapshot(c.now)
		return ok(last)
	}) {
		t.Fatalf("the snapshot does not change as expected: %+v", last)
	}
	return last
}

// check lets a whole check run.
func (c *clock) check(t testing.TB, m *machine, s *Source) *Snapshot {
	t.Helper()
	want := m.checks() + 1
	c.next(t, s, func(*Snapshot) bool { return m.checks() >= want })
	if !testkit.Eventually(func() bool { return !s.busy.Load() }) {
		t.Fatal("a check does not end")
	}
	return s.Snapshot(0)
}

func hasServer(addr string) func(*Snapshot) bool {
	want := netip.MustParseAddr(addr)
	return func(s *Snapshot) bool { return s.Resolv.Servers[0].Addr() == want }
}

func TestSourceWithoutFiles(t *testing.T) {
	m := newMachine(t)
	snap := m.open().Snapshot(0)
	if !hasServer("127.0.0.1")(snap) || !snap.NSSwitch.Default || snap.Hosts.Len() != 0 || len(snap.Warnings) != 0 {
		t.Errorf("without files: %+v, want the defaults", snap)
	}
	for path, err := range map[string]error{m.paths.Resolv: snap.ResolvErr, m.paths.NSSwitch: snap.NSSwitchErr, m.paths.Hosts: snap.HostsErr} {
		var fe *FileError
		if !errors.Is(err, fs.ErrNotExist) || !errors.As(err, &fe) || fe.Path != path || !strings.Contains(err.Error(), path) {
			t.Errorf("error of %s: %v; want a *FileError that matches fs.ErrNotExist", path, err)
		}
	}
	m.paths = Paths{}
	if snap := m.open().Snapshot(0); snap.ResolvErr != nil || snap.NSSwitchErr != nil || snap.HostsErr != nil || snap.Resolv == nil {
		t.Errorf("without paths: %+v, want no errors", snap)
	}
}

func TestSourceReloads(t *testing.T) {
	m := newMachine(t)
	const old = time.Hour
	m.write(m.paths.Resolv, "nameserver 192.0.2.1\nfoo bar\n", old)
	m.write(m.paths.NSSwitch, "hosts: dns\n", old)
	m.write(m.paths.Hosts, "192.0.2.1 a\n", old)
	m.environ["RES_OPTIONS"] = "ndots:4"
	m.hostname = "host.example"
	s, c := m.open(), &clock{}
	first := s.Snapshot(0)
	if !hasServer("192.0.2.1")(first) || first.Resolv.Ndots != 4 || len(first.Resolv.Search) != 1 || len(first.NSSwitch.Hosts) != 1 || first.Hosts.Len() != 1 {
		t.Fatalf("the first snapshot: %+v", first)
	}
	if len(first.Warnings) != 1 || first.Warnings[0].File != m.paths.Resolv || first.Warnings[0].Line != 2 {
		t.Errorf("warnings: %v", first.Warnings)
	}
	if again := c.check(t, m, s); again != first {
		t.Error("a check without a change makes another snapshot")
	}

	m.write(m.paths.Hosts, "192.0.2.1 a b\n", old)
	snap := c.next(t, s, func(s *Snapshot) bool { return s.Hosts.Len() == 2 })
	if snap.Epoch != first.Epoch || snap.Resolv != first.Resolv {
		t.Error("a change of the hosts file changes the epoch, or the rest")
	}
	m.write(m.paths.Resolv, "# only a comment is new\nnameserver 192.0.2.1\n\nfoo bar\n", old)
	snap = c.next(t, s, func(s *Snapshot) bool { return s.Warnings[0].Line == 4 })
	if snap.Epoch != first.Epoch {
		t.Error("a change that means nothing changes the epoch")
	}
	m.write(m.paths.Resolv, "nameserver 192.0.2.2\n", old)
	snap = c.next(t, s, hasServer("192.0.2.2"))
	if snap.Epoch <= first.Epoch || len(snap.Warnings) != 0 || snap.Resolv.Ndots != 4 {
		t.Errorf("after a change of resolv.conf: %+v", snap)
	}
	epoch := snap.Epoch
	m.write(m.paths.NSSwitch, "hosts: files dns\n", old)
	if snap = c.next(t, s, func(s *Snapshot) bool { return len(s.NSSwitch.Hosts) == 2 }); snap.Epoch <= epoch {
		t.Error("a change of nsswitch.conf does not change the epoch")
	}
	m.set(func() { m.environ["RES_OPTIONS"] = "ndots:2" })
	c.next(t, s, func(s *Snapshot) bool { return s.Resolv.Ndots == 2 })
	m.set(func() { m.hostname = "" })
	c.next(t, s, func(s *Snapshot) bool { return len(s.Resolv.Search) == 0 })

	if err := os.Remove(m.paths.Resolv); err != nil {
		t.Fatal(err)
	}
	if snap = c.next(t, s, func(s *Snapshot) bool { return s.ResolvErr != nil }); !hasServer("127.0.0.1")(snap) {
		t.Errorf("the file is removed, but its servers remain: %v", snap.Resolv.Servers)
	}
	m.write(m.paths.Resolv, "nameserver 192.0.2.3\n", old)
	if snap = c.next(t, s, hasServer("192.0.2.3")); snap.ResolvErr != nil {
		t.Errorf("the error remains after it has passed: %v", snap.ResolvErr)
	}
}

// A file that was young when it was read may change again without another size or time.
func TestSourceNoticesChangesWithinATick(t *testing.T) {
	m := newMachine(t)
	const young = racyAge / 2
	m.write(m.paths.Resolv, "nameserver 192.0.2.1\n", young)
	info, err := os.Stat(m.paths.Resolv)
	if err != nil {
		t.Fatal(err)
	}
	s, c := m.open(), &clock{}
	if !hasServer("192.0.2.1")(s.Snapshot(0)) {
		t.Fatal("the file is not read")
	}
	f, err := os.OpenFile(m.paths.Resolv, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	_, err = f.WriteAt([]byte("nameserver 192.0.2.2\n"), 0)
	if err := errors.Join(err, f.Close(), os.Chtimes(m.paths.Resolv, info.ModTime(), info.ModTime())); err != nil {
		t.Fatal(err)
	}
	c.next(t, s, hasServer("192.0.2.2"))
}

// One difference suffices to read an old file again: another size, time, or file at the path.
func TestSourceNoticesEachDifference(t *testing.T) {
	when := time.Now().Add(-time.Hour)
	for what, change := range map[string]func(path string) error{
		"size": func(path string) error {
			return errors.Join(os.WriteFile(path, []byte("nameserver 192.0.2.2\n\n"), 0o600), os.Chtimes(path, when, when))
		},
		"time": func(path string) error {
			later := when.Add(time.Minute)
			return errors.Join(os.WriteFile(path, []byte("nameserver 192.0.2.2\n"), 0o600), os.Chtimes(path, later, later))
		},
		"file": func(path string) error {
			next := path + ".next"
			return errors.Join(os.WriteFile(next, []byte("nameserver 192.0.2.2\n"), 0o600), os.Chtimes(next, when, when), os.Rename(next, path))
		},
	} {
		t.Run(what, func(t *testing.T) {
			m := newMachine(t)
			path := m.paths.Resolv
			if err := errors.Join(os.WriteFile(path, []byte("nameserver 192.0.2.1\n"), 0o600), os.Chtimes(path, when, when)); err != nil {
				t.Fatal(err)
			}
			s, c := m.open(), &clock{}
			if c.check(t, m, s); s.resolv.fresh {
				t.Fatal("the file is old, but counts as young")
			}
			// While the file is changed in place, no check must see it: it would be young then.
			if err := change(path); err != nil {
				t.Fatal(err)
			}
			c.next(t, s, hasServer("192.0.2.2"))
		})
	}
}

// A file that comes back as it was counts again.
func TestSourceFileComesBack(t *testing.T) {
	m := newMachine(t)
	m.write(m.paths.Resolv, "nameserver 192.0.2.1\n", time.Hour)
	s, c := m.open(), &clock{}
	away := m.paths.Resolv + ".away"
	if err := os.Rename(m.paths.Resolv, away); err != nil {
		t.Fatal(err)
	}
	c.next(t, s, hasServer("127.0.0.1"))
	if err := os.Rename(away, m.paths.Resolv); err != nil {
		t.Fatal(err)
	}
	if snap := c.next(t, s, hasServer("192.0.2.1")); snap.ResolvErr != nil {
		t.Errorf("the file is back, but the error remains: %v", snap.ResolvErr)
	}
}

// While a file cannot be read, what was last read is in force.
func TestSourceKeepsWhatItHasRead(t *testing.T) {
	m := newMachine(t)
	m.write(m.paths.Resolv, "nameserver 192.0.2.1\n", time.Hour)
	s, c := m.open(), &clock{}
	if err := errors.Join(os.Remove(m.paths.Resolv), os.Mkdir(m.paths.Resolv, 0o700)); err != nil {
		t.Fatal(err)
	}
	snap := c.next(t, s, func(s *Snapshot) bool { return s.ResolvErr != nil })
	if !hasServer("192.0.2.1")(snap) || !errors.Is(snap.ResolvErr, errNotRegular) {
		t.Errorf("a folder in place of the file: servers %v, error %v", snap.Resolv.Servers, snap.ResolvErr)
	}
	if err := os.Remove(m.paths.Resolv); err != nil {
		t.Fatal(err)
	}
	m.write(m.paths.Resolv, "nameserver 192.0.2.2\n", time.Hour)
	c.next(t, s, hasServer("192.0.2.2"))
}

func TestSourceNoReload(t *testing.T) {
	m := newMachine(t)
	m.write(m.paths.Resolv, "nameserver 192.0.2.1\noptions no-reload\n", time.Hour)
	s, c := m.open(), &clock{}
	m.write(m.paths.Resolv, "nameserver 192.0.2.2\n", time.Hour)
	m.write(m.paths.Hosts, "192.0.2.1 a\n", time.Hour)
	snap := c.next(t, s, func(s *Snapshot) bool { return s.Hosts.Len() == 1 })
	if !hasServer("192.0.2.1")(snap) {
		t.Error("no-reload is set, but the changed file is in force")
	}
}

// Snapshot returns at once while a check hangs, and starts no other.
func TestSnapshotNeverBlocks(t *testing.T) {
	m := newMachine(t)
	s := m.open()
	first := s.Snapshot(0)
	hold := make(chan struct{})
	m.set(func() { m.hold = hold })
	begun := m.checks()
	if s.Snapshot(DefaultInterval-1) != first || s.busy.Load() {
		t.Error("a check begins before the interval has passed")
	}
	s.Snapshot(DefaultInterval)
	if !testkit.Eventually(func() bool { return m.checks() == begun+1 }) {
		t.Fatal("no check begins after the interval")
	}
	for i := range 100 { // in this goroutine: a call that waits for the check would never return
		if s.Snapshot(DefaultInterval*time.Duration(i)) != first {
			t.Error("the snapshot changes during a check that hangs")
		}
	}
	if got := m.checks(); got != begun+1 {
		t.Errorf("%d checks run at once", got-begun)
	}
	close(hold)
	if !testkit.Eventually(func() bool { return !s.busy.Load() }) {
		t.Fatal("the check does not end")
	}
	// The clock of the last calls is ahead: the interval counts from when the check began.
	s.Snapshot(2*DefaultInterval - 1)
	if s.checks.Wait(); m.checks() != begun+1 {
		t.Error("the next check begins too early")
	}
}

// Close waits for the check that runs, and no other begins.
func TestSourceClose(t *testing.T) {
	m := newMachine(t)
	s := m.open()
	hold := make(chan struct{})
	m.set(func() { m.hold = hold })
	s.Snapshot(DefaultInterval)
	closed := make(chan struct{})
	go func() {
		s.Close()
		close(closed)
	}()
	if !testkit.Eventually(func() bool { s.mu.Lock(); defer s.mu.Unlock(); return s.closed }) {
		t.Fatal("Close does not begin")
	}
	select {
	case <-closed:
		t.Error("Close returns while a check runs")
	default:
	}
	close(hold)
	<-closed
	checks := m.checks()
	if s.Snapshot(time.Hour) == nil || s.Snapshot(2*time.Hour) == nil {
		t.Error("after Close there is no snapshot")
	}
	s.checks.Wait()
	if m.checks() != checks {
		t.Error("a check begins after Close")
	}
	s.Close()
}

// Many goroutines read while the files change: for the race detector.
func TestSourceConcurrently(t *testing.T) {
	m := newMachine(t)
	m.write(m.paths.Resolv, "nameserver 192.0.2.1\nfoo\n", time.Hour)
	s := m.open()
	var wg sync.WaitGroup
	for g := range 4 {
		wg.Go(func() {
			for i := range 200 {
				snap := s.Snapshot(time.Duration(i) * DefaultInterval)
				for j := range snap.Warnings {
					_ = snap.Warnings[j].Error()
				}
				if g == 0 && i%50 == 0 {
					m.write(m.paths.Resolv, strings.Repeat("foo\n", i/50+1), time.Hour)
				}
				runtime.Gosched()
			}
		})
	}
	wg.Wait()
}

func TestDefaultPaths(t *testing.T) {
	p := DefaultPaths()
	if !filepath.IsAbs(p.Hosts) {
		t.Errorf("path of the hosts file: %q", p.Hosts)
	}
	if runtime.GOOS == "windows" && (p.Resolv != "" || p.NSSwitch != "") {
		t.Errorf("Windows has no such files: %+v", p)
	}
	s := Open(Config{Paths: p}) // of the machine that runs the test, whatever it has
	defer s.Close()
	if snap := s.Snapshot(0); len(snap.Resolv.Servers) == 0 || len(snap.NSSwitch.Hosts) == 0 {
		t.Errorf("no servers or services: %+v", snap)
	}
}

func BenchmarkSnapshot(b *testing.B) {
	s := Open(Config{})
	defer s.Close()
	b.ReportAllocs()
	for b.Loop() {
		if s.Snapshot(0) == nil {
			b.Fatal("no snapshot")
		}
	}
}
