package doctor

import (
	"fmt"
	"strings"
	"time"

	"github.com/pollux-io/pollux/cmd/pollux/internal/columns"
	"github.com/pollux-io/pollux/cmd/pollux/internal/nametext"
	"github.com/pollux-io/pollux/dns"
)

// Names is how package dns looks up names with the strategy Auto.
type Names struct {
	Source    string   `json:"source"`     // of most names: evented, or pool, the system's resolver; empty after an error
	Why       string   `json:"why"`        // that source
	Servers   []string `json:"servers"`    // those that are asked, for types other than A and AAAA in any case
	TimeoutMS int64    `json:"timeout_ms"` // of one attempt at one server
	Attempts  int      `json:"attempts"`   // how often each server is asked
	Rotate    bool     `json:"rotate"`     // queries begin at each server in turn
	TCP       bool     `json:"tcp"`        // servers are asked over TCP only
	Search    []string `json:"search"`     // what is appended to a name without dots, in order; "." is the name as it is
	Warnings  []string `json:"warnings"`   // about the configuration files, with file and line
	Error     string   `json:"error"`      // why names cannot be looked up; empty if they can
}

// Names to explain. They end below .test, which no server has (RFC 6761), so that neither the hosts file nor the system's own
// sources are likely to have them.
const (
	commonName = "host.pollux.test."
	shortName  = "pollux-test-host"
)

// names examines a configuration.
func names(c dns.Config) Names {
	n := Names{Servers: []string{}, Search: []string{}, Warnings: []string{}}
	r, err := dns.New(c)
	if err != nil {
		n.Error = err.Error()
		return n
	}
	defer r.Close()
	plan := r.Explain(commonName, 0)
	n.Source, n.Why = string(plan.Path), plan.Reason
	if plan.Err != nil {
		n.Error = plan.Err.Error()
	}
	records := r.Explain(shortName, dns.TypeTXT) // evented with each strategy
	for _, s := range records.Servers {
		n.Servers = append(n.Servers, s.String())
	}
	n.TimeoutMS, n.Attempts, n.Rotate, n.TCP = records.Timeout.Milliseconds(), records.Attempts, records.Rotate, records.TCP
	for _, name := range records.Names {
		suffix := strings.TrimPrefix(name, shortName+".")
		if suffix == "" {
			suffix = "."
		}
		n.Search = append(n.Search, suffix)
	}
	for _, w := range r.Warnings() {
		n.Warnings = append(n.Warnings, w.Error())
	}
	return n
}

func (p *printer) printNames() {
	n := &p.Names
	fmt.Fprintf(p, "\nNames\n")
	var t columns.Table
	if n.Source != "" {
		t.Row("automatic", n.Source+": "+n.Why)
	}
	if len(n.Servers) > 0 {
		plan := dns.Plan{Timeout: time.Duration(n.TimeoutMS) * time.Millisecond, Attempts: n.Attempts, Rotate: n.Rotate, TCP: n.TCP}
		t.Row("servers", strings.Join(n.Servers, ", ")+"; "+nametext.Terms(&plan))
	}
	if len(n.Search) > 0 {
		t.Row("search", n.searchList())
	}
	for _, w := range n.Warnings {
		t.Row("warning", w)
	}
	if n.Error != "" {
		t.Row("error", n.Error)
	}
	t.Print(p, p.width)
	p.line("pollux resolve --trace NAME shows how a name is looked up")
}

// searchList returns the search list in words.
func (n *Names) searchList() string {
	var list []string
	for _, suffix := range n.Search {
		if suffix == "." {
			list = append(list, "as it is")
		} else {
			list = append(list, "below "+suffix)
		}
	}
	return "a name without dots is looked up " + strings.Join(list, ", then ")
}
