package doctor

import (
	"fmt"
	"io"
	"math"
	"strings"
	"text/tabwriter"

	"github.com/pollux-io/pollux"
	"github.com/pollux-io/pollux/cmd/pollux/internal/report"
)

// Print writes the report for people.
func (r *Report) Print(out io.Writer) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintf(w, "Backends\n")
	for _, b := range r.Backends {
		state := "not usable"
		if b.Usable {
			state = "usable"
		}
		if b.Default {
			state += ", default"
		}
		fmt.Fprintf(w, "  %s\t%s\t%s\n", b.Name, state, b.Why)
	}
	switch {
	case r.Forced == nil:
		fmt.Fprintf(w, "  none is forced; POLLUX_BACKEND=name would\n")
	case r.Forced.OK:
		fmt.Fprintf(w, "  %s=%s forces this one%s\n", r.Forced.Variable, r.Forced.Value, r.Forced.only())
	default:
		fmt.Fprintf(w, "  %s=%s is an error: %s\n", r.Forced.Variable, r.Forced.Value, r.Forced.Error)
	}
	w.Flush()
	r.printSystem(w)
	fmt.Fprintf(w, "\nLimits\n")
	for _, l := range r.Limits {
		fmt.Fprintf(w, "  %s\t%s\t%s\n", l.Name, list(l.Values), l.About)
	}
	w.Flush()
	r.printAdvice(w)
	r.printNotes(w)
	return w.Flush()
}

// only says what a forced backend is not for.
func (f *Forced) only() string {
	for _, b := range pollux.Backends() {
		if b.Name == f.Value {
			return ""
		}
	}
	return ", for loops; a Poll refuses it"
}

func (r *Report) printSystem(w io.Writer) {
	s := r.System
	fmt.Fprintf(w, "\nSystem\n")
	fmt.Fprintf(w, "  kernel\t%s, %s/%s\n", s.Kernel, s.OS, s.Arch)
	fmt.Fprintf(w, "  Go\t%s\n", s.Go)
	cgroup := ""
	switch {
	case s.CgroupCPUs > 0:
		cgroup = fmt.Sprintf(", %.4g allowed by the control group", s.CgroupCPUs)
	case s.OS == "linux":
		cgroup = ", no limit by a control group"
	}
	fmt.Fprintf(w, "  processors\t%d, GOMAXPROCS %d%s\n", s.CPUs, s.GOMAXPROCS, cgroup)
	if s.MemoryBytes > 0 {
		fmt.Fprintf(w, "  memory\t%s, %s available\n", report.Bytes(s.MemoryBytes), report.Bytes(s.AvailableBytes))
	}
	if s.GoMemLimitBytes > 0 {
		fmt.Fprintf(w, "  GOMEMLIMIT\t%s\n", report.Bytes(s.GoMemLimitBytes))
	}
}

func (r *Report) printAdvice(w *tabwriter.Writer) {
	fmt.Fprintf(w, "\nFor %d connections\n", r.Connections)
	raised, settings := 0, 0
	for _, a := range r.Advice {
		state := "ok"
		if !a.OK {
			state = "raise"
			raised++
		}
		fmt.Fprintf(w, "  %s\t%s\thas %s\tneeds %s\t%s\n", state, a.Name, a.in(a.Have), a.in(a.Need), a.Why)
	}
	w.Flush()
	if raised == 0 {
		fmt.Fprintf(w, "  nothing needs to be raised\n")
		return
	}
	fmt.Fprintf(w, "\nTo raise them\n")
	for _, a := range r.Advice {
		for _, c := range a.Commands {
			fmt.Fprintf(w, "  %s\n", c)
			if strings.HasPrefix(c, "sudo sysctl") {
				settings++
			}
		}
	}
	if settings > 0 {
		fmt.Fprintf(w, "  sysctl lasts until the next boot: put the same name=value lines into /etc/sysctl.d/90-pollux.conf to keep them\n")
	}
}

func (r *Report) printNotes(w io.Writer) {
	if len(r.Notes) > 0 {
		fmt.Fprintf(w, "\nNotes\n")
	}
	for _, n := range r.Notes {
		fmt.Fprintf(w, "  %s: %s\n", n.Name, n.Text)
		for _, c := range n.Commands {
			fmt.Fprintf(w, "    %s\n", c)
		}
	}
}

func (a *Advice) in(v int64) string {
	if a.Name == memoryName {
		return report.Bytes(v)
	}
	return number(v)
}

func list(values []int64) string {
	var b []string
	for _, v := range values {
		b = append(b, number(v))
	}
	return strings.Join(b, " ")
}

func number(v int64) string {
	if v == math.MaxInt64 {
		return "unlimited"
	}
	return fmt.Sprint(v)
}
