package simnet_test

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/pollux-io/pollux/internal/simnet"
	"github.com/pollux-io/pollux/internal/sys"
	"github.com/pollux-io/pollux/internal/testkit"
)

var programs = flag.Int("simnet.programs", 60, "programs of TestRandomCallsLikeLinux")

// ends are the two ends of a connection, of the kernel or simulated; a closed one is InvalidFD.
type ends struct {
	*recorder
	family int
	fds    [2]sys.FD
}

func (e *ends) describe() string {
	var b strings.Builder
	for i, fd := range e.fds {
		if fd == sys.InvalidFD {
			fmt.Fprintf(&b, "%d is closed; ", i)
			continue
		}
		unread, _ := sys.UnreadBytes(fd)
		unacked, _ := sys.UnackedBytes(fd)
		if e.family == sys.AF_UNIX {
			unacked = min(unacked, 1) // the kernel counts its own overhead, too
		}
		fmt.Fprintf(&b, "%d: state %06b, %d unread, %d unacked; ", i, e.state(fd), unread, unacked)
	}
	return b.String()
}

// A call is made on one of the ends; its random arguments are the same for both kinds.
type call struct {
	name string
	end  int
	make func(fd sys.FD) string
}

func randomCall(r *rand.Rand) call {
	size := 1 + r.IntN(20)
	b := make([]byte, size)
	for i := range b {
		b[i] = byte('a' + r.IntN(26))
	}
	recv := func(flags int) func(fd sys.FD) string {
		return func(fd sys.FD) string {
			b := make([]byte, size)
			n, e := sys.Recv(fd, b, flags)
			return fmt.Sprintf("%q %s", b[:n], errname(e))
		}
	}
	send := func(fd sys.FD) string {
		n, e := sys.Send(fd, b, 0)
		return fmt.Sprintf("%d %s", n, errname(e))
	}
	how := []int{sys.SHUT_RD, sys.SHUT_WR, sys.SHUT_RDWR}[r.IntN(3)]
	calls := []call{
		{name: fmt.Sprintf("send %q", b), make: send},
		{name: fmt.Sprintf("send %q", b), make: send},
		{name: fmt.Sprintf("send %q", b), make: send},
		{name: fmt.Sprintf("recv %d", size), make: recv(0)},
		{name: fmt.Sprintf("recv %d", size), make: recv(0)},
		{name: fmt.Sprintf("peek %d", size), make: recv(sys.MSG_PEEK)},
		{name: fmt.Sprintf("shutdown %d", how), make: func(fd sys.FD) string { return errname(sys.Shutdown(fd, how)) }},
		{name: "linger 0", make: func(fd sys.FD) string { return errname(sys.SetLinger(fd, true, 0)) }},
		{name: "SO_ERROR", make: func(fd sys.FD) string { return errname(sys.SocketError(fd)) }},
		{name: "getpeername", make: func(fd sys.FD) string {
			_, e := sys.PeerAddr(fd)
			return errname(e)
		}},
		{name: "close", make: func(fd sys.FD) string { return errname(sys.Close(fd)) }},
	}
	c := calls[r.IntN(len(calls))]
	c.end = r.IntN(2)
	return c
}

// Random calls on the ends of a connection have the same results as on the kernel's sockets.
func TestRandomCallsLikeLinux(t *testing.T) {
	for _, family := range []int{sys.AF_INET, sys.AF_UNIX} {
		for seed := range uint64(*programs) {
			if problem := randomCalls(t, family, seed); problem != "" {
				t.Fatalf("family %d, seed %d:\n%s", family, seed, problem)
			}
		}
	}
}

func randomCalls(t *testing.T, family int, seed uint64) (problem string) {
	r := rand.New(rand.NewPCG(seed, uint64(family)))
	n := simnet.New(simnet.Config{Seed: seed})
	defer n.Close()
	h := n.Host()
	kinds := []*ends{
		{recorder: kernelRecorder(t), family: family},
		{recorder: simulatedRecorder(t, h), family: family},
	}
	for _, k := range kinds {
		k.quietly = true
		k.fds[0], k.fds[1] = k.pair(family)
	}
	defer func() {
		for _, k := range kinds {
			for _, fd := range k.fds {
				if fd != sys.InvalidFD {
					sys.Close(fd)
				}
			}
		}
	}()
	var done strings.Builder
	for range 25 {
		if !testkit.Eventually(func() bool { return kinds[0].describe() == kinds[1].describe() }) {
			return fmt.Sprintf("%sthe kernel: %s\nsimulated:  %s", &done, kinds[0].describe(), kinds[1].describe())
		}
		c := randomCall(r)
		if kinds[0].fds[c.end] == sys.InvalidFD {
			continue
		}
		results := [2]string{c.make(kinds[0].fds[c.end]), c.make(kinds[1].fds[c.end])}
		fmt.Fprintf(&done, "end %d: %s: %s\n", c.end, c.name, results[0])
		if results[0] != results[1] {
			return fmt.Sprintf("%s... but simulated: %s", &done, results[1])
		}
		if c.name == "close" {
			kinds[0].fds[c.end], kinds[1].fds[c.end] = sys.InvalidFD, sys.InvalidFD
		}
	}
	return ""
}
