package doctor

import (
	"io/fs"
	"path"
	"strconv"
	"strings"
)

// The names of the settings that advice is about.
const (
	descriptorsSoft = "RLIMIT_NOFILE soft"
	descriptorsHard = "RLIMIT_NOFILE hard"
	nrOpen          = "fs.nr_open"
	fileMax         = "fs.file-max"
	maxUserWatches  = "fs.epoll.max_user_watches"
	somaxconn       = "net.core.somaxconn"
	synBacklog      = "net.ipv4.tcp_max_syn_backlog"
	portRange       = "net.ipv4.ip_local_port_range"
	conntrackMax    = "net.netfilter.nf_conntrack_max"
	handles         = "handles"           // Windows'
	timedWait       = "TcpTimedWaitDelay" // Windows', in its registry
)

// settings are read from /proc/sys of Linux (proc_sys(5), tcp(7), epoll(7)); those that do
// not exist are left out.
var settings = []struct{ name, about string }{
	{nrOpen, "maximum of any hard limit on descriptors"},
	{fileMax, "open files of the whole machine"},
	{maxUserWatches, "registrations in epoll, for each user"},
	{somaxconn, "connections that can wait to be accepted, for each listener"},
	{synBacklog, "half-open connections, for each listener"},
	{portRange, "local ports of outgoing connections"},
	{"net.ipv4.tcp_rmem", "receive buffer of a TCP socket in bytes: minimum, default, maximum"},
	{"net.ipv4.tcp_wmem", "send buffer of a TCP socket in bytes: minimum, default, maximum"},
	{"net.core.rmem_max", "maximum of SO_RCVBUF, in bytes"},
	{"net.core.wmem_max", "maximum of SO_SNDBUF, in bytes"},
	{conntrackMax, "connections that the packet filter tracks"},
}

func systemLimits(root fs.FS) []Limit {
	list := []Limit{}
	for _, s := range settings {
		b, err := fs.ReadFile(root, path.Join("proc/sys", strings.ReplaceAll(s.name, ".", "/")))
		if err != nil {
			continue
		}
		if values := numbers(string(b)); len(values) > 0 {
			list = append(list, Limit{s.name, values, s.about})
		}
	}
	return list
}

func numbers(text string) []int64 {
	var values []int64
	for f := range strings.FieldsSeq(text) {
		n, err := strconv.ParseUint(f, 10, 64)
		if err != nil {
			return nil
		}
		values = append(values, clamp(n))
	}
	return values
}

// memory reads /proc/meminfo.
func memory(root fs.FS) (total, available int64) {
	b, _ := fs.ReadFile(root, "proc/meminfo")
	for line := range strings.Lines(string(b)) {
		name, rest, _ := strings.Cut(line, ":")
		kib := numbers(strings.TrimSuffix(strings.TrimSpace(rest), "kB"))
		if len(kib) != 1 {
			continue
		}
		switch name {
		case "MemTotal":
			total = kib[0] << 10
		case "MemAvailable":
			available = kib[0] << 10
		}
	}
	return total, available
}

// cgroupCPUs returns the lowest limit of this process's control group and those above it
// (cgroup v2: cpu.max), or 0 if no limit is set.
func cgroupCPUs(root fs.FS) float64 {
	b, _ := fs.ReadFile(root, "proc/self/cgroup")
	least := 0.0
	for line := range strings.Lines(string(b)) {
		group, ok := strings.CutPrefix(strings.TrimSpace(line), "0::")
		if !ok {
			continue
		}
		for dir := path.Join("/", group); ; dir = path.Dir(dir) {
			b, _ := fs.ReadFile(root, path.Join("sys/fs/cgroup", dir, "cpu.max"))
			if v := numbers(string(b)); len(v) == 2 && v[1] > 0 {
				if cpus := float64(v[0]) / float64(v[1]); least == 0 || cpus < least {
					least = cpus
				}
			}
			if dir == "/" {
				break
			}
		}
	}
	return least
}
