package queue

import (
	"time"

	"github.com/pollux-io/pollux/internal/backend"
	"github.com/pollux-io/pollux/internal/selector"
)

// A Backend is a kernel interface that reports readiness. backends, in backend_*.go, lists
// those in this system's build, best first.
type Backend struct {
	backend.Candidate
	open func(selector.Config) (selector.Selector, error)
}

func newBackend(name string, note func() string, open func(selector.Config) (selector.Selector, error)) *Backend {
	b := &Backend{open: open}
	b.Name, b.Note, b.Probe = name, note, b.tryOpen
	return b
}

func (b *Backend) tryOpen() error {
	s, err := b.open(selector.Config{})
	if err != nil {
		return err
	}
	s.Close()
	return nil
}

// Open returns an empty Poll on b.
func (b *Backend) Open(c selector.Config) (*Poll, error) {
	s, err := b.open(c)
	if err != nil {
		return nil, err
	}
	return New(b.Name, s), nil
}

// Backends returns the backends of this build, best first.
func Backends() []*Backend { return backends }

// set has the backends of a Poll.
var set = backend.Set{Candidates: candidates(), User: "a Poll", Advice: "; other backends work only with package loop (loop.Backends)"}

func candidates() []*backend.Candidate {
	all := make([]*backend.Candidate, len(backends))
	for i, b := range backends {
		all[i] = &b.Candidate
	}
	return all
}

// Probe probes the backends of a Poll.
func Probe() []backend.Info { return set.Probe() }

// Open returns an empty Poll on the backend that the environment or else name requests, or on
// the best usable one (see backend.Set.Choose).
func Open(name, option string, c selector.Config) (*Poll, error) {
	choice, err := set.Choose(name, option)
	if err != nil {
		return nil, err
	}
	q, err := backends[choice.Index].Open(c)
	if err != nil {
		return nil, choice.Failed(err)
	}
	return q, nil
}

// Settings is what the options of pollux.New set.
type Settings struct {
	Backend     string
	BusyPoll    time.Duration // as in selector.Config
	BlockThread bool
	poll        *Poll
}

// Over is an option of pollux.New, for tests: the Poll is one over q.
func Over(q *Poll) func(*Settings) error {
	return func(s *Settings) error {
		s.poll = q
		return nil
	}
}

// OpenWith returns the Poll that s describes.
func OpenWith(s *Settings) (*Poll, error) {
	if s.poll != nil {
		return s.poll, nil
	}
	return Open(s.Backend, "Backend option", selector.Config{BusyPoll: s.BusyPoll, BlockThread: s.BlockThread})
}
