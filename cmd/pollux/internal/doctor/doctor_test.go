package doctor

import (
	"bytes"
	"encoding/json"
	"maps"
	"strings"
	"testing"
	"testing/fstest"
)

func linux() machine {
	files := fstest.MapFS{}
	for name, text := range map[string]string{
		"proc/sys/fs/nr_open":                      "1048576\n",
		"proc/sys/fs/file-max":                     "9223372036854775807\n",
		"proc/sys/fs/epoll/max_user_watches":       "5000\n",
		"proc/sys/net/core/somaxconn":              "4096\n",
		"proc/sys/net/ipv4/tcp_max_syn_backlog":    "2048\n",
		"proc/sys/net/ipv4/ip_local_port_range":    "32768\t60999\n",
		"proc/sys/net/ipv4/tcp_rmem":               "4096\t131072\t6291456\n",
		"proc/meminfo":                             "MemTotal:        1048576 kB\nMemFree: 1 kB\nMemAvailable:     524288 kB\n",
		"proc/self/cgroup":                         "0::/a/b\n",
		"sys/fs/cgroup/a/b/cpu.max":                "max 100000\n",
		"sys/fs/cgroup/a/cpu.max":                  "150000 100000\n",
		"proc/sys/net/core/rmem_max":               "not a number\n",
		"proc/sys/net/netfilter/nf_conntrack_max":  "262144\n",
		"proc/sys/net/netfilter/nf_conntrack_none": "",
	} {
		files[name] = &fstest.MapFile{Data: []byte(text)}
	}
	return machine{files: files}
}

func (r *Report) advice(t *testing.T, name string) Advice {
	t.Helper()
	for _, a := range r.Advice {
		if a.Name == name {
			return a
		}
	}
	t.Fatalf("no advice about %s", name)
	return Advice{}
}

func TestAdvice(t *testing.T) {
	r := examine(30000, linux())
	if r.System.MemoryBytes != 1<<30 || r.System.AvailableBytes != 1<<29 || r.System.CgroupCPUs != 1.5 {
		t.Errorf("%+v", r.System)
	}
	for name, want := range map[string]string{
		nrOpen:         "",
		fileMax:        "",
		conntrackMax:   "",
		maxUserWatches: `sudo sysctl -w fs.epoll.max_user_watches="30000"`,
		somaxconn:      `sudo sysctl -w net.core.somaxconn="30000"`,
		synBacklog:     `sudo sysctl -w net.ipv4.tcp_max_syn_backlog="30000"`,
		portRange:      `sudo sysctl -w net.ipv4.ip_local_port_range="1024 65535"`,
	} {
		a := r.advice(t, name)
		if a.OK != (want == "") || strings.Join(a.Commands, "; ") != want {
			t.Errorf("%s: %+v, want %q", name, a, want)
		}
	}
	if a := examine(100, linux()).advice(t, portRange); !a.OK || a.Have != 28232 {
		t.Errorf("for 100: %+v", a)
	}
	if a := examine(1_000_000, linux()).advice(t, memoryName); a.OK {
		t.Errorf("for a million: %+v", a)
	}
	if a := examine(1_000_000, linux()).advice(t, somaxconn); a.Need != maxBacklog {
		t.Errorf("for a million: %+v", a)
	}
}

// The commands work in the order in which they are printed.
func TestAdviceOrder(t *testing.T) {
	r := &Report{Connections: 2_000_000, Limits: []Limit{
		{Name: descriptorsSoft, Values: []int64{1024}}, {Name: nrOpen, Values: []int64{1 << 20}},
	}}
	list := advise(r)
	if len(list) != 2 || list[0].Name != nrOpen || list[0].OK || list[1].Name != descriptorsSoft || list[1].OK {
		t.Errorf("%+v", list)
	}
}

func TestDescriptorCommands(t *testing.T) {
	r := &Report{Limits: []Limit{{Name: descriptorsHard, Values: []int64{4096}}}}
	if c := descriptorCommands(r, 4000); len(c) != 1 || c[0] != "ulimit -n 4000" {
		t.Errorf("below the hard limit: %q", c)
	}
	if c := descriptorCommands(r, 5000); len(c) != 3 || !strings.Contains(c[0], "nofile 5000") {
		t.Errorf("above the hard limit: %q", c)
	}
}

// The names of the JSON fields do not change.
func TestJSON(t *testing.T) {
	b, err := json.Marshal(examine(10, linux()))
	if err != nil {
		t.Fatal(err)
	}
	var got map[string]any
	if err := json.Unmarshal(b, &got); err != nil {
		t.Fatal(err)
	}
	has := func(object any, names ...string) {
		t.Helper()
		m, _ := object.(map[string]any)
		for _, n := range names {
			if _, ok := m[n]; !ok {
				t.Errorf("no field %q in %v", n, m)
			}
		}
	}
	has(got, "backends", "forced", "system", "names", "tls", "limits", "connections", "advice", "notes")
	has(got["backends"].([]any)[0], "name", "usable", "default", "why")
	has(got["system"], "os", "kernel", "arch", "go", "cpus", "gomaxprocs", "cgroup_cpus", "memory_bytes", "available_bytes", "gomemlimit_bytes")
	has(got["names"], "source", "why", "servers", "timeout_ms", "attempts", "rotate", "tcp", "search", "warnings", "error")
	has(got["tls"], "in_place", "why")
	has(got["limits"].([]any)[0], "name", "values", "about")
	has(got["advice"].([]any)[0], "name", "have", "need", "ok", "why", "commands")
}

// A system without Linux's files has a report, too.
func TestNothingKnown(t *testing.T) {
	r := examine(10000, machine{files: noFiles{}})
	var b bytes.Buffer
	if err := r.Print(&b, 80); err != nil || !strings.Contains(b.String(), "Backends") {
		t.Errorf("%v\n%s", err, b.String())
	}
}

func TestForced(t *testing.T) {
	t.Setenv("POLLUX_BACKEND", "nonsense")
	if f := forced(); f == nil || f.OK || !strings.Contains(f.Error, "nonsense") {
		t.Errorf("%+v", f)
	}
	t.Setenv("POLLUX_BACKEND", "")
	if f := forced(); f != nil {
		t.Errorf("%+v", f)
	}
}

// At any width of at least 40 columns, no line is longer unless it is a single word; words
// are not broken, and a command that continues in the next line is still one command.
func TestPrintFitsTheWidth(t *testing.T) {
	r := examine(1_000_000, linux())
	r.System.OS = "linux" // its commands are the longest
	r.Limits = append([]Limit{{descriptorsHard, []int64{4096}, "what it may raise that to"}, {descriptorsSoft, []int64{4096}, "descriptors"}}, r.Limits...)
	r.Advice = advise(r)
	r.Backends = []Backend{{"epoll", true, true, "registrations may come from any thread"}, {"uring", false, false, "the kernel refuses io_uring (EPERM): it is switched off by kernel.io_uring_disabled, or by seccomp"}}
	r.Notes = []Note{{"a note", "each connection that goes out to one address and port takes a local port", []string{"netsh int ipv4 show dynamicport tcp   # as administrator; ipv6 likewise"}}}
	words := func(s string) []string { return strings.Fields(strings.ReplaceAll(s, "\\\n", "")) }
	whole := map[string]int{}
	for width := 200; width >= 40; width-- {
		var b bytes.Buffer
		if err := r.Print(&b, width); err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(b.String()) {
			line = strings.TrimRight(line, "\n")
			bare := strings.TrimSuffix(strings.TrimSpace(line), " \\")
			if single := len(strings.Fields(strings.ReplaceAll(bare, `"1024 65535"`, ""))) == 1; len(line) > width && !single {
				t.Errorf("%d columns: %d: %s", width, len(line), line)
			}
			if strings.HasSuffix(line, " ") {
				t.Errorf("%d columns: blanks at the end of %q", width, line)
			}
		}
		seen := map[string]int{}
		for _, w := range words(b.String()) {
			if w != "#" {
				seen[w]++
			}
		}
		if width == 200 {
			whole = seen
		} else if !maps.Equal(seen, whole) {
			t.Errorf("%d columns: the words differ from those at 200 columns\n%s", width, b.String())
		}
	}
}
