package dnsconf

import (
	"os"
	"reflect"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// DefaultInterval is how often files are checked for changes, as in Go's resolver.
const DefaultInterval = 5 * time.Second

// Paths are those of the files; "" means that there is no such file.
type Paths struct {
	Resolv, NSSwitch, Hosts string
}

// A Config configures a Source.
type Config struct {
	Paths Paths
	// Interval is the shortest time between two checks for changes; 0 means DefaultInterval.
	Interval time.Duration
	// Environ looks up environment variables, as os.LookupEnv, which nil means.
	Environ func(key string) (value string, ok bool)
	// Hostname returns the machine's name, as os.Hostname, which nil means.
	Hostname func() (string, error)
}

// A Snapshot is the configuration at one time. It is immutable, and so is everything it refers to.
type Snapshot struct {
	Resolv   *Resolv
	NSSwitch *NSSwitch
	Hosts    *Hosts

	// Epoch changes whenever Resolv or NSSwitch do: answers from before it may be wrong now. The hosts file
	// has no part in it.
	Epoch uint64

	// Warnings are those of all files.
	Warnings []Warning
	// Errors of the files, each a *FileError or nil. If one does not exist, its defaults are in force; otherwise, what was
	// last read.
	ResolvErr, NSSwitchErr, HostsErr error
	// When is the time of the check at which the snapshot was made.
	When time.Time
}

// A Source keeps a current Snapshot. Its methods may be called from any goroutine.
type Source struct {
	config  Config
	current atomic.Pointer[Snapshot]
	due     atomic.Int64 // the time, in nanoseconds of the callers' clock, of the next check
	busy    atomic.Bool  // a check runs, or is about to

	mu     sync.Mutex
	closed bool
	checks sync.WaitGroup

	// The rest belongs to the check that runs.
	resolv, nsswitch, hosts file
	env                     Environment
	warnings                [3][]Warning // of resolv, nsswitch, hosts
}

// Open returns a Source, whose first Snapshot it reads from the files: it may block as file systems do.
// It succeeds whatever is in the files, or if they do not exist. The caller must Close it.
func Open(c Config) *Source {
	if c.Interval <= 0 {
		c.Interval = DefaultInterval
	}
	if c.Environ == nil {
		c.Environ = os.LookupEnv
	}
	if c.Hostname == nil {
		c.Hostname = os.Hostname
	}
	s := &Source{
		config:   c,
		resolv:   file{path: c.Paths.Resolv, limit: MaxResolvSize},
		nsswitch: file{path: c.Paths.NSSwitch, limit: MaxNSSwitchSize},
		hosts:    file{path: c.Paths.Hosts, limit: MaxHostsSize},
	}
	s.due.Store(int64(c.Interval))
	s.check()
	return s
}

// Snapshot returns the current configuration. It never blocks. now is the time on a clock that does not
// go backwards, the same in all calls. If the last check began longer ago than the interval, Snapshot starts
// another in the background, whose result a later call returns.
func (s *Source) Snapshot(now time.Duration) *Snapshot {
	if int64(now) >= s.due.Load() && s.busy.CompareAndSwap(false, true) {
		s.startCheck(now)
	}
	return s.current.Load()
}

// startCheck must be called by the goroutine that has set busy.
func (s *Source) startCheck(now time.Duration) {
	// Another check may have ended between the caller's look at due and at busy.
	if int64(now) < s.due.Load() {
		s.busy.Store(false)
		return
	}
	s.due.Store(int64(now + s.config.Interval))
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return // busy remains set: there are no more checks
	}
	s.checks.Go(func() {
		defer s.busy.Store(false)
		s.check()
	})
}

// Close ends the checks, and waits for one that runs. Snapshot continues to return the last one.
func (s *Source) Close() {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	s.checks.Wait()
}

// check looks at the files, and publishes a new Snapshot if there is a difference.
func (s *Source) check() {
	now := time.Now()
	next := Snapshot{When: now, Epoch: 1}
	last := s.current.Load()
	if last != nil {
		next = *last
		next.When = now
	}
	env := s.environment()
	changed := last == nil
	if last == nil || !last.Resolv.NoReload { // no-reload: file and environment are those of the start
		changed = s.resolv.update(now) || changed || env != s.env
	}
	if changed {
		s.env = env
		next.Resolv, s.warnings[0] = ParseResolv(s.resolv.data, env)
	}
	if s.nsswitch.update(now) || last == nil {
		next.NSSwitch, s.warnings[1] = ParseNSSwitch(s.nsswitch.data)
	}
	if s.hosts.update(now) || last == nil {
		next.Hosts, s.warnings[2] = ParseHosts(s.hosts.data)
	}
	next.ResolvErr, next.NSSwitchErr, next.HostsErr = s.resolv.err, s.nsswitch.err, s.hosts.err
	if last != nil && last.sameFiles(&next) {
		return
	}
	if last != nil && !(reflect.DeepEqual(last.Resolv, next.Resolv) && reflect.DeepEqual(last.NSSwitch, next.NSSwitch)) {
		next.Epoch++
	}
	next.Warnings = s.allWarnings()
	s.current.Store(&next)
}

// sameFiles reports whether s and t are of the same contents and errors.
func (s *Snapshot) sameFiles(t *Snapshot) bool {
	return s.Resolv == t.Resolv && s.NSSwitch == t.NSSwitch && s.Hosts == t.Hosts &&
		errorText(s.ResolvErr) == errorText(t.ResolvErr) && errorText(s.NSSwitchErr) == errorText(t.NSSwitchErr) &&
		errorText(s.HostsErr) == errorText(t.HostsErr)
}

func errorText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

func (s *Source) allWarnings() []Warning {
	for i, path := range []string{s.resolv.path, s.nsswitch.path, s.hosts.path} {
		for j := range s.warnings[i] {
			if w := &s.warnings[i][j]; w.File == "" {
				w.File = path
			}
		}
	}
	return slices.Concat(s.warnings[:]...)
}

func (s *Source) environment() Environment {
	var env Environment
	env.LocalDomain, env.HasLocalDomain = s.config.Environ("LOCALDOMAIN")
	env.ResOptions, _ = s.config.Environ("RES_OPTIONS")
	env.Hostname, _ = s.config.Hostname() // without it, there is no default of the search list
	return env
}
