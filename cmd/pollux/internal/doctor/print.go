package doctor

import (
	"bufio"
	"fmt"
	"io"
	"math"
	"strings"

	"github.com/pollux-io/pollux"
	"github.com/pollux-io/pollux/cmd/pollux/internal/columns"
	"github.com/pollux-io/pollux/cmd/pollux/internal/report"
)

// printer writes a report as text.
type printer struct {
	io.Writer
	*Report
	width int
	err   error
}

// Write implements io.Writer. After the first error it writes nothing.
func (p *printer) Write(b []byte) (int, error) {
	if p.err == nil {
		_, p.err = p.Writer.Write(b)
	}
	return len(b), nil
}

// line writes a text, wrapped, with the indent of tables.
func (p *printer) line(format string, a ...any) {
	for _, line := range columns.Wrap(fmt.Sprintf(format, a...), p.width-2) {
		fmt.Fprintf(p, "  %s\n", line)
	}
}

// Print writes the report as text, in lines of at most width columns, except for longer
// words.
func (r *Report) Print(out io.Writer, width int) error {
	buffered := bufio.NewWriter(out)
	p := &printer{Writer: buffered, Report: r, width: width}
	p.printBackends()
	p.printSystem()
	p.printNames()
	p.printTLS()
	fmt.Fprintf(p, "\nLimits\n")
	var t columns.Table
	for _, l := range r.Limits {
		t.Row(l.Name, list(l.Values), l.About)
	}
	t.Print(p, width)
	p.printAdvice()
	p.printNotes()
	if p.err != nil {
		return p.err
	}
	return buffered.Flush()
}

func (p *printer) printBackends() {
	fmt.Fprintf(p, "Backends\n")
	var t columns.Table
	for _, b := range p.Backends {
		state := "not usable"
		if b.Usable {
			state = "usable"
		}
		if b.Default {
			state += ", default"
		}
		t.Row(b.Name, state, b.Why)
	}
	t.Print(p, p.width)
	switch f := p.Forced; {
	case f == nil:
		p.line("none is forced; POLLUX_BACKEND=name forces one")
	case f.OK:
		p.line("%s=%s forces this one%s", f.Variable, f.Value, f.only())
	default:
		p.line("%s=%s is an error: %s", f.Variable, f.Value, f.Error)
	}
}

// only returns a remark if a forced backend is for loops only.
func (f *Forced) only() string {
	for _, b := range pollux.Backends() {
		if b.Name == f.Value {
			return ""
		}
	}
	return ", for loops; a Poll refuses it"
}

func (p *printer) printSystem() {
	s := p.System
	fmt.Fprintf(p, "\nSystem\n")
	cgroup := ""
	switch {
	case s.CgroupCPUs > 0:
		cgroup = fmt.Sprintf(", %.4g allowed by the control group", s.CgroupCPUs)
	case s.OS == "linux":
		cgroup = ", no limit by a control group"
	}
	var t columns.Table
	t.Row("kernel", fmt.Sprintf("%s, %s/%s", s.Kernel, s.OS, s.Arch))
	t.Row("Go", s.Go)
	t.Row("processors", fmt.Sprintf("%d, GOMAXPROCS %d%s", s.CPUs, s.GOMAXPROCS, cgroup))
	if s.MemoryBytes > 0 {
		t.Row("memory", fmt.Sprintf("%s, %s available", report.Bytes(s.MemoryBytes), report.Bytes(s.AvailableBytes)))
	}
	if s.GoMemLimitBytes > 0 {
		t.Row("GOMEMLIMIT", report.Bytes(s.GoMemLimitBytes))
	}
	t.Print(p, p.width)
}

func (p *printer) printAdvice() {
	fmt.Fprintf(p, "\nFor %d connections\n", p.Connections)
	raised, settings := 0, 0
	var t columns.Table
	for _, a := range p.Advice {
		state := "ok"
		if !a.OK {
			state = "raise"
			raised++
		}
		t.Row(state, a.Name, "has "+a.in(a.Have), "needs "+a.in(a.Need), a.Why)
	}
	t.Print(p, p.width)
	if raised == 0 {
		p.line("nothing needs to be raised")
		return
	}
	fmt.Fprintf(p, "\nTo raise them\n")
	for _, a := range p.Advice {
		for _, c := range a.Commands {
			p.command(c)
			if strings.HasPrefix(c, "sudo sysctl") {
				settings++
			}
		}
	}
	if settings > 0 {
		p.line("sysctl lasts until the next boot: put the same name=value lines into /etc/sysctl.d/90-pollux.conf to keep them")
	}
}

func (p *printer) command(c string) { columns.Command(p, c, p.width, p.System.OS != "windows") }

func (p *printer) printNotes() {
	if len(p.Notes) > 0 {
		fmt.Fprintf(p, "\nNotes\n")
	}
	for _, n := range p.Notes {
		p.line("%s: %s", n.Name, n.Text)
		for _, c := range n.Commands {
			p.command(c)
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
