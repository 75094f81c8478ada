// Package doctor reports the backends of this machine, how it looks up names, and which limits must be
// raised for a given number of connections.
package doctor

import (
	"context"
	"io/fs"
	"os"
	"runtime"
	"runtime/debug"
	"strings"

	"github.com/pollux-io/pollux"
	"github.com/pollux-io/pollux/cmd/pollux/internal/limits"
	"github.com/pollux-io/pollux/dns"
	"github.com/pollux-io/pollux/loop"
)

// A Report has all results. The names of its JSON fields are stable: fields may be added,
// but none changes its meaning.
type Report struct {
	Backends    []Backend `json:"backends"`
	Forced      *Forced   `json:"forced"` // null if no backend is forced
	System      System    `json:"system"`
	Names       Names     `json:"names"`
	TLS         TLS       `json:"tls"`
	Limits      []Limit   `json:"limits"`
	Connections int       `json:"connections"` // the number that Advice is for
	Advice      []Advice  `json:"advice"`
	Notes       []Note    `json:"notes"`
}

// A Backend is one of loop.Backends.
type Backend struct {
	Name    string `json:"name"`
	Usable  bool   `json:"usable"`
	Default bool   `json:"default"`
	Why     string `json:"why"`
}

// Forced is the backend that the environment forces.
type Forced struct {
	Variable string `json:"variable"`
	Value    string `json:"value"`
	OK       bool   `json:"ok"`
	Error    string `json:"error"` // empty if OK
}

// System is the machine and the program.
type System struct {
	OS              string  `json:"os"`
	Kernel          string  `json:"kernel"`
	Arch            string  `json:"arch"`
	Go              string  `json:"go"`
	CPUs            int     `json:"cpus"`
	GOMAXPROCS      int     `json:"gomaxprocs"`
	CgroupCPUs      float64 `json:"cgroup_cpus"`      // 0: not limited
	MemoryBytes     int64   `json:"memory_bytes"`     // 0: unknown
	AvailableBytes  int64   `json:"available_bytes"`  // 0: unknown
	GoMemLimitBytes int64   `json:"gomemlimit_bytes"` // 0: not limited
}

// A Limit is a setting of the system, with the system's name for it.
type Limit struct {
	Name   string  `json:"name"`
	Values []int64 `json:"values"`
	About  string  `json:"about"`
}

// A Note is about a setting that programs cannot read.
type Note struct {
	Name     string   `json:"name"`
	Text     string   `json:"text"`
	Commands []string `json:"commands"` // that show it, or change it
}

// A machine has the sources of information for examine.
type machine struct {
	files            fs.FS   // the root directory, for Linux's /proc and /sys
	limits           []Limit // limits that are not in files
	total, available int64   // memory in bytes, if it is not in files
	notes            func(connections int) []Note
	names            dns.Config
}

// noFiles is the root directory of a system without such files.
type noFiles struct{}

// Open implements fs.FS.
func (noFiles) Open(name string) (fs.File, error) {
	return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
}

// Examine returns the report for a number of connections.
func Examine(connections int) *Report { return examine(connections, thisMachine()) }

func examine(connections int, m machine) *Report {
	r := &Report{Connections: connections, Backends: backends(), Forced: forced(), System: system(m), Names: names(m.names), TLS: tlsMode(), Notes: []Note{}}
	r.Limits = append(systemLimits(m.files), m.limits...)
	if soft, hard, ok := limits.Descriptors(); ok {
		r.Limits = append([]Limit{
			{descriptorsSoft, []int64{clamp(soft)}, "descriptors that this process may have; Go has raised it as far as possible"},
			{descriptorsHard, []int64{clamp(hard)}, "the highest soft limit that it may set"},
		}, r.Limits...)
	}
	r.Advice = advise(r)
	if m.notes != nil {
		r.Notes = m.notes(connections)
	}
	return r
}

func backends() []Backend {
	var list []Backend
	for _, b := range loop.Backends() {
		list = append(list, Backend(b))
	}
	return list
}

func forced() *Forced {
	value := os.Getenv(pollux.BackendEnv)
	if value == "" {
		return nil
	}
	f := &Forced{Variable: pollux.BackendEnv, Value: value, OK: true}
	// A loop accepts every backend of a Poll, and more.
	g, err := loop.NewGroup(loop.Config{Loops: 1})
	if err != nil {
		f.OK, f.Error = false, strings.TrimPrefix(strings.TrimPrefix(err.Error(), "loop: starting a loop: "), "pollux: new: ")
		return f
	}
	g.Shutdown(context.Background())
	return f
}

func system(m machine) System {
	s := System{
		OS: runtime.GOOS, Kernel: kernel(), Arch: runtime.GOARCH, Go: runtime.Version(),
		CPUs: runtime.NumCPU(), GOMAXPROCS: runtime.GOMAXPROCS(0), CgroupCPUs: cgroupCPUs(m.files),
	}
	s.MemoryBytes, s.AvailableBytes = memory(m.files)
	if s.MemoryBytes == 0 {
		s.MemoryBytes, s.AvailableBytes = m.total, m.available
	}
	if limit := debug.SetMemoryLimit(-1); limit < 1<<62 {
		s.GoMemLimitBytes = limit
	}
	return s
}

// limit returns value i of a setting, and reports whether the system has it.
func (r *Report) limit(name string, i int) (int64, bool) {
	for _, l := range r.Limits {
		if l.Name == name && i < len(l.Values) {
			return l.Values[i], true
		}
	}
	return 0, false
}

// clamp converts n to an int64: "unlimited", the largest number, becomes the largest int64.
func clamp(n uint64) int64 { return int64(min(n, 1<<63-1)) }
