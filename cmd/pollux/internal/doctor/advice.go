package doctor

import (
	"fmt"

	"github.com/pollux-io/pollux/cmd/pollux/internal/limits"
)

const (
	// maxBacklog: the length of a listener's queue had 16 bits up to Linux 5.4, and longer
	// queues only hide that a server does not keep up.
	maxBacklog = 65535
	// The ports that an unprivileged program may use.
	firstPort, lastPort = 1024, 65535
	// idleBytes is roughly what an idle connection takes: the kernel's socket, its
	// smallest buffers, and the program's own state.
	idleBytes = 16 << 10

	memoryName = "memory in bytes"
)

// Advice compares one limit with what the connections need.
type Advice struct {
	Name     string   `json:"name"`
	Have     int64    `json:"have"`
	Need     int64    `json:"need"`
	OK       bool     `json:"ok"`
	Why      string   `json:"why"`
	Commands []string `json:"commands"` // to run if not OK
}

// advise returns the advice for each limit that the system has.
func advise(r *Report) []Advice {
	n := int64(r.Connections)
	files := n + limits.Reserve
	backlog := min(n, maxBacklog)
	list := []Advice{}
	atLeast := func(name string, need int64, why string, commands ...string) {
		have, ok := r.limit(name, 0)
		if !ok {
			return
		}
		if commands == nil {
			commands = sysctl(name, fmt.Sprint(need))
		}
		list = append(list, Advice{name, have, need, have >= need, why, commands})
	}
	// In the order in which they must be raised: a hard limit above fs.nr_open is refused.
	atLeast(nrOpen, files, "no process can have more descriptors")
	atLeast(descriptorsSoft, files, "each connection uses a descriptor (in pollux fetch, one more for its file)", descriptorCommands(r, files)...)
	atLeast(handles, files, "each connection uses a handle (in pollux fetch, one more for its file)", []string{}...)
	atLeast(fileMax, files, "the whole machine cannot have more open files")
	atLeast(maxUserWatches, n, "each connection is a registration")
	atLeast(somaxconn, backlog, "simultaneous connects wait in this queue to be accepted")
	atLeast(synBacklog, backlog, "simultaneous connects wait in this queue to be established")
	atLeast(conntrackMax, n, "the packet filter drops connections above this number")
	list = append(list, ports(r, n)...)
	if have := r.System.MemoryBytes; have > 0 {
		need := n * idleBytes
		list = append(list, Advice{
			memoryName, have, need, have >= need,
			"an idle connection uses about 16 KiB in total; a busy one also its buffers",
			[]string{},
		})
	}
	for i := range list {
		if list[i].OK {
			list[i].Commands = []string{}
		}
	}
	return list
}

func sysctl(name, value string) []string {
	return []string{fmt.Sprintf("sudo sysctl -w %s=%q", name, value)}
}

func descriptorCommands(r *Report, need int64) []string {
	here := fmt.Sprintf("ulimit -n %d", need)
	if hard, ok := r.limit(descriptorsHard, 0); ok && hard >= need {
		return []string{here}
	}
	return []string{
		fmt.Sprintf("echo '* - nofile %d' | sudo tee /etc/security/limits.d/90-pollux.conf   # then log in again", need),
		fmt.Sprintf("sudo prlimit --pid $$ --nofile=%d:%d   # for this shell, immediately", need, need),
		fmt.Sprintf("LimitNOFILE=%d   # in the [Service] part of a systemd unit", need),
	}
}

// ports returns the advice for local ports: outgoing connections to the same address and
// port have different local ports.
func ports(r *Report, n int64) []Advice {
	first, ok1 := r.limit(portRange, 0)
	last, ok2 := r.limit(portRange, 1)
	if !ok1 || !ok2 {
		return nil
	}
	a := Advice{
		Name: portRange, Have: last - first + 1, Need: n,
		Why:      "each outgoing connection to the same address and port uses a local port",
		Commands: sysctl(portRange, fmt.Sprintf("%d %d", firstPort, lastPort)),
	}
	a.OK = a.Have >= a.Need
	if n > lastPort-firstPort+1 {
		a.Commands = append(a.Commands, "# there are no more ports: use several addresses, local or remote")
	}
	return []Advice{a}
}
