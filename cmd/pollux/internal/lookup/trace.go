package lookup

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/pollux-io/pollux/cmd/pollux/internal/nametext"
	"github.com/pollux-io/pollux/cmd/pollux/internal/report"
	"github.com/pollux-io/pollux/dns"
)

// A Trace is how an answer was found. Its fields are stable, as those of a result.
type Trace struct {
	Query  string `json:"query"`            // the name that was looked up
	Source string `json:"source"`           // literal, localhost, hosts, cache, evented or pool; empty: no source is asked
	Reason string `json:"reason,omitempty"` // why that source

	// What the evented source asks for: the names of the search list in order, and whom. Absent for others.
	Names     []string `json:"names,omitempty"`
	Servers   []string `json:"servers,omitempty"`
	TimeoutMS int64    `json:"timeout_ms,omitempty"` // of an attempt
	Tries     int      `json:"tries,omitempty"`      // of each server
	Rotate    bool     `json:"rotate,omitempty"`     // each query begins with another server
	TCP       bool     `json:"tcp,omitempty"`        // over TCP only

	Attempts []Attempt `json:"attempts"`          // those that have failed
	Aliases  []string  `json:"aliases,omitempty"` // of the answer
	TookUS   int64     `json:"took_us"`           // microseconds, all in all
}

// An Attempt is a question to one server that has failed.
type Attempt struct {
	Type      string `json:"type"` // of the records that were asked for
	Server    string `json:"server"`
	Transport string `json:"transport"` // udp or tcp
	Error     string `json:"error"`
	TookUS    int64  `json:"took_us"` // microseconds, from sending to the failure
}

// TraceOf returns the trace of a result of a Runner with Plan.
func TraceOf(r *Result) *Trace {
	p := &r.Plan
	t := &Trace{
		Query: jsonName(r.Query), Source: string(p.Path), Reason: printable(p.Reason), Names: p.Names,
		TimeoutMS: p.Timeout.Milliseconds(), Tries: p.Attempts, Rotate: p.Rotate, TCP: p.TCP,
		Attempts: []Attempt{}, Aliases: r.aliases(), TookUS: r.Took.Microseconds(),
	}
	for _, s := range p.Servers {
		t.Servers = append(t.Servers, s.String())
	}
	for _, s := range r.stepsOf() {
		t.Attempts = append(t.Attempts, Attempt{s.Type.String(), s.Server.String(), transport(s), printable(s.Err.Error()), s.Took.Microseconds()})
	}
	return t
}

// Lines returns the trace as text.
func (t *Trace) Lines(r *Result) []string {
	var lines []string
	add := func(format string, a ...any) { lines = append(lines, fmt.Sprintf(format, a...)) }
	if r.Query != r.Name {
		add("looked up: %s", t.Query)
	}
	if t.Source == "" {
		add("source: none")
	} else {
		add("source: %s, because %s", t.Source, t.Reason)
	}
	if len(t.Names) > 0 {
		add("names to ask for: %s", strings.Join(t.Names, " "))
		add("servers to ask: %s; %s", strings.Join(t.Servers, " "), nametext.Terms(&r.Plan))
	}
	for i, a := range t.Attempts {
		add("attempt %d: %s %s %s: %s, after %v", i+1, a.Type, a.Server, a.Transport, a.Error, report.Round(time.Duration(a.TookUS)*time.Microsecond))
	}
	if len(t.Aliases) > 0 {
		add("alias of: %s", strings.Join(t.Aliases, " "))
	}
	took := report.Round(time.Duration(t.TookUS) * time.Microsecond)
	path := r.path()
	switch {
	case r.Err != nil && path == "":
		add("no answer in %v", took)
	case r.Err != nil:
		add("no answer from %s in %v", path, took)
	default:
		add("answer for %s from %s in %v", r.Answer.Canonical, path, took)
	}
	return lines
}

// path is where the answer, or the failure, comes from.
func (r *Result) path() dns.Path {
	var e *dns.Error
	if errors.As(r.Err, &e) {
		return e.Path
	}
	return r.Answer.Path
}
