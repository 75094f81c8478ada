package lookup

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"strings"
	"sync/atomic"

	"github.com/pollux-io/pollux/cmd/pollux/internal/redact"
	"github.com/pollux-io/pollux/dns"
)

const (
	// maxLineBytes bounds a line of a list. A name has 1,004 bytes at most, with every octet escaped.
	maxLineBytes = 64 << 10
	// ahead is how many jobs are read before they can begin.
	ahead = 64
)

// A Job is one lookup.
type Job struct {
	Name  string // as it was given
	Query string // the name to look up
	Kind  Kind
	err   error // why Name cannot be looked up
}

// errURL: a URL must not be sent to a DNS server, as it may have a password.
var errURL = errors.New("this is a URL; give the name of its host only")

func newJob(name string, k Kind) Job {
	j := Job{Name: name, Query: name, Kind: k}
	if strings.Contains(name, "://") {
		j.Name, j.err = redact.URL(name), errURL
		j.Query = j.Name
		return j
	}
	if dns.Type(k) == dns.TypePTR {
		if addr, err := netip.ParseAddr(name); err == nil {
			j.Query = reverseName(addr)
		}
	}
	return j
}

// A List is the names to look up: Given, then a name a line of Input, unless it is nil.
// Empty lines, and lines that begin with #, are ignored.
type List struct {
	Given []string
	Input io.Reader
	Kinds []Kind

	size int64 // of Input; 0: unknown
	read atomic.Int64
	err  error // of Input; valid once the jobs have been closed
}

// Measure finds out the size of a regular file, for Fraction.
func (l *List) Measure() {
	if f, ok := l.Input.(*os.File); ok {
		if info, err := f.Stat(); err == nil && info.Mode().IsRegular() {
			l.size = info.Size()
		}
	}
}

// Fraction returns how much of Input has been read, from 0 to 1, and whether that is known. It may be called
// from any goroutine.
func (l *List) Fraction() (done float64, ok bool) {
	if l.size <= 0 {
		return 0, false
	}
	return min(float64(l.read.Load())/float64(l.size), 1), true
}

// jobs reads the list in a goroutine of its own, until ctx ends. Input is read as lookups go on, so
// it may have any number of names.
func (l *List) jobs(ctx context.Context) <-chan Job {
	jobs := make(chan Job, ahead)
	go func() {
		defer close(jobs)
		l.err = l.send(ctx, jobs)
	}()
	return jobs
}

func (l *List) send(ctx context.Context, jobs chan<- Job) error {
	for _, name := range l.Given {
		if !l.sendName(ctx, jobs, name) {
			return ctx.Err()
		}
	}
	if l.Input == nil {
		return nil
	}
	s := bufio.NewScanner(l.Input)
	s.Buffer(nil, maxLineBytes)
	line := 0
	for s.Scan() {
		line++
		l.read.Add(int64(len(s.Bytes()) + len("\n")))
		text := strings.TrimSpace(strings.TrimPrefix(s.Text(), "\ufeff"))
		if text == "" || text[0] == '#' {
			continue
		}
		if !l.sendName(ctx, jobs, text) {
			return ctx.Err()
		}
	}
	if err := s.Err(); err != nil {
		if errors.Is(err, bufio.ErrTooLong) {
			err = fmt.Errorf("the line has more than %d bytes", maxLineBytes)
		}
		return fmt.Errorf("line %d: %w", line+1, err)
	}
	return nil
}

// sendName sends the jobs of a name, and reports whether ctx is still alive.
func (l *List) sendName(ctx context.Context, jobs chan<- Job, name string) bool {
	for _, k := range l.Kinds {
		select {
		case jobs <- newJob(name, k):
		case <-ctx.Done():
			return false
		}
	}
	return true
}
