package doctor

import (
	"fmt"

	"github.com/pollux-io/pollux/cmd/pollux/internal/limits"
)

const (
	// maxBacklog: a listener's queue was 16 bits wide up to Linux 5.4, and longer
	// ones only hide that a server does not keep up.
	maxBacklog = 65535
	// The ports that an ordinary program may take.
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
	Commands []string `json:"commands"` // what to do if not OK
}

// advise goes through the limits that the system has.
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
	atLeast(descriptorsSoft, files, "each connection is a descriptor (and each of fetch's has a file besides)", descriptorCommands(r, files)...)
	atLeast(handles, files, "each connection is a handle (and each of fetch's has a file besides)", []string{}...)
	atLeast(fileMax, files, "the whole machine can have no more")
	atLeast(maxUserWatches, n, "each connection is a registration")
	atLeast(somaxconn, backlog, "if all connect at once they wait here to be accepted")
	atLeast(synBacklog, backlog, "if all connect at once they wait here to be established")
	atLeast(conntrackMax, n, "the packet filter drops the connections that it has no room for")
	list = append(list, ports(r, n)...)
	if have := r.System.MemoryBytes; have > 0 {
		need := n * idleBytes
		list = append(list, Advice{
			memoryName, have, need, have >= need,
			"an idle connection takes about 16 KiB in all; a busy one its buffers besides",
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
		fmt.Sprintf("sudo prlimit --pid $$ --nofile=%d:%d   # for this shell, at once", need, need),
		fmt.Sprintf("LimitNOFILE=%d   # in the [Service] part of a systemd unit", need),
	}
}

// ports: a connection that goes out has a local port of its own for each address
// and port that it goes to.
func ports(r *Report, n int64) []Advice {
	first, ok1 := r.limit(portRange, 0)
	last, ok2 := r.limit(portRange, 1)
	if !ok1 || !ok2 {
		return nil
	}
	a := Advice{
		Name: portRange, Have: last - first + 1, Need: n,
		Why:      "each connection that goes out to one address and port takes a local port",
		Commands: sysctl(portRange, fmt.Sprintf("%d %d", firstPort, lastPort)),
	}
	a.OK = a.Have >= a.Need
	if n > lastPort-firstPort+1 {
		a.Commands = append(a.Commands, "# that is all there are: spread the rest over several addresses, local or remote")
	}
	return []Advice{a}
}
