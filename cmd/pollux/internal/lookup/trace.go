package lookup

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/pollux-io/pollux/cmd/pollux/internal/report"
	"github.com/pollux-io/pollux/dns"
)

// A Trace is how an answer was found. Its fields are stable, as those of a result.
type Trace struct {
	Query    string    `json:"query"`             // the name that was looked up
	Aliases  []string  `json:"aliases,omitempty"` // of the answer
	Attempts []Attempt `json:"attempts"`          // those that have failed
	TookUS   int64     `json:"took_us"`           // microseconds, all in all
}

// An Attempt is a question to one server that has failed.
type Attempt struct {
	Server    string `json:"server"`
	Transport string `json:"transport"` // udp or tcp
	Error     string `json:"error"`
}

// TraceOf returns the trace of a result.
func TraceOf(r *Result) *Trace {
	t := &Trace{Query: r.Query, Aliases: r.aliases(), Attempts: []Attempt{}, TookUS: r.Took.Microseconds()}
	for _, s := range r.stepsOf() {
		t.Attempts = append(t.Attempts, Attempt{s.Server.String(), transport(s), printable(s.Err.Error())})
	}
	return t
}

// Lines returns the trace as text.
func (t *Trace) Lines(r *Result) []string {
	lines := []string{fmt.Sprintf("looked up: %s", t.Query)}
	for i, a := range t.Attempts {
		lines = append(lines, fmt.Sprintf("attempt %d: %s %s: %s", i+1, a.Server, a.Transport, a.Error))
	}
	if len(t.Aliases) > 0 {
		lines = append(lines, "alias of: "+strings.Join(t.Aliases, ", "))
	}
	outcome := "answer of " + r.Answer.Canonical + ","
	if r.Err != nil {
		outcome = "no answer,"
	}
	source := ""
	if p := r.path(); p != "" {
		source = fmt.Sprintf(" from %s,", p)
	}
	took := time.Duration(t.TookUS) * time.Microsecond
	return append(lines, fmt.Sprintf("%s%s in %v", outcome, source, report.Round(took)))
}

// path is where the answer, or the failure, comes from.
func (r *Result) path() dns.Path {
	var e *dns.Error
	if errors.As(r.Err, &e) {
		return e.Path
	}
	return r.Answer.Path
}
