package netconn_test

import (
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pollux-io/pollux/internal/sys"
	"github.com/pollux-io/pollux/internal/testkit"
	"github.com/pollux-io/pollux/loop"
)

// The model of this package is package net: random programs do the same on a connection of each, and must get the same
// results.

// An end is what *net.TCPConn and *netconn.Conn have in common.
type end interface {
	net.Conn
	CloseWrite() error
	SetLinger(sec int) error
}

// An action is a step of a program: a call of one end, and perhaps one of the other end, or of itself, that runs while the
// first waits.
type action struct {
	name string
	end  int
	n    int // of bytes
}

// programState is what a program may do next, such that the results do not depend on the kernel's or a loop's pace.
type programState struct {
	unread           [2]int // bytes that an end may still read
	finished, closed [2]bool
	expired          [2]bool
	reset            bool
}

const maxModelBytes = 5000 // less than any buffer, so no write waits

// draw returns the next action, or false if the drawn one would not be determined.
func (s *programState) draw(r *rand.Rand) (a action, ok bool) {
	names := []string{"write", "write", "read", "read", "readZero", "writeZero", "expire", "clear", "waitWrite", "waitExpire", "waitClose", "waitFinish", "finish", "close", "abort"}
	a = action{names[r.IntN(len(names))], r.IntN(2), 1 + r.IntN(maxModelBytes)}
	e, p := a.end, 1-a.end
	quiet := s.unread[e] == 0 && !s.finished[p] && !s.closed[p] && !s.closed[e] && !s.expired[e]
	switch a.name {
	case "write", "writeZero":
		ok = !s.closed[p] && !s.reset // the kernel decides when it finds out
		if ok && a.name == "write" && !s.closed[e] && !s.finished[e] && !s.expired[e] {
			if s.unread[p]+a.n > maxModelBytes {
				return a, false
			}
			s.unread[p] += a.n
		}
	case "read":
		a.n = min(a.n, s.unread[e])
		ok = s.closed[e] || s.expired[e] || a.n > 0 || s.finished[p] || s.closed[p]
		if ok && !s.closed[e] && !s.expired[e] {
			s.unread[e] -= a.n
			if s.reset && a.n == 0 {
				s.reset, s.closed[e] = false, true // reported once; the program closes it
				a.name = "readReset"
			}
		}
	case "readZero":
		ok = !s.reset && runtime.GOOS != "windows" // where that of package net waits for data
	case "expire", "clear":
		ok = !s.closed[e]
		s.expired[e] = ok && a.name == "expire" || s.expired[e] && !(ok && a.name == "clear")
	case "waitWrite", "waitFinish":
		ok = quiet && !s.expired[p]
		s.finished[p] = s.finished[p] || ok && a.name == "waitFinish"
	case "waitExpire":
		ok = quiet
		s.expired[e] = s.expired[e] || ok
	case "waitClose":
		ok = quiet
		s.closed[e] = s.closed[e] || ok
	case "finish":
		ok = !s.closed[e] && !s.closed[p] && !(s.finished[0] && s.finished[1]) // then it is ENOTCONN, for package net
		s.finished[e] = s.finished[e] || ok
	case "close":
		ok = s.unread[e] == 0 && !s.reset // bytes that are not read reset a connection of package net
		s.closed[e] = s.closed[e] || ok
	case "abort":
		ok = !s.closed[e] && !s.closed[p] && !s.finished[0] && !s.finished[1] && s.unread[p] == 0 && r.IntN(4) == 0
		if ok {
			s.closed[e], s.reset = true, true
		}
	}
	return a, ok
}

func drawProgram(seed uint64) (program []action) {
	const draws = 120
	r := rand.New(rand.NewPCG(seed, 0))
	var s programState
	for range draws {
		next := s
		if a, ok := next.draw(r); ok {
			s = next
			program = append(program, a)
		}
	}
	return program
}

var past = time.Unix(1, 0)

// run runs a program and returns the results of its calls.
func run(program []action, ends [2]end) (results []string) {
	var sent, received [2]byte // the next byte of each direction, by its receiver
	for _, a := range program {
		e, p := ends[a.end], ends[1-a.end]
		write := func(e end, to, n int) string {
			b := make([]byte, n)
			for i := range b {
				b[i] = sent[to] + byte(i)
			}
			n, err := e.Write(b)
			sent[to] += byte(n)
			return describe(n, err)
		}
		check := func(b []byte) {
			for _, x := range b {
				if x != received[a.end] {
					results = append(results, "other bytes")
				}
				received[a.end]++
			}
		}
		var got string
		switch a.name {
		case "write":
			got = write(e, 1-a.end, a.n)
		case "writeZero":
			got = describe(e.Write(nil))
		case "read", "readReset":
			b := make([]byte, max(a.n, 1))
			n, err := io.ReadFull(e, b)
			check(b[:n])
			if got = describe(n, err); a.name == "readReset" {
				e.Close()
			}
		case "readZero":
			got = describe(e.Read(nil))
		case "expire":
			got = describe(0, e.SetDeadline(past))
		case "clear":
			got = describe(0, e.SetDeadline(time.Time{}))
		case "finish":
			got = describe(0, e.CloseWrite())
		case "close":
			got = describe(0, e.Close())
		case "abort":
			e.SetLinger(0)
			got = describe(0, e.Close())
		default:
			b := make([]byte, maxModelBytes)
			reading := start(func() (int, error) { return e.Read(b) })
			if a.name == "waitWrite" {
				a.n = 1 // which comes in one piece
			}
			var other string
			switch a.name {
			case "waitWrite":
				other = write(p, a.end, a.n)
			case "waitFinish":
				other = describe(0, p.CloseWrite())
			case "waitExpire":
				other = describe(0, e.SetDeadline(past))
			case "waitClose":
				other = describe(0, e.Close())
			}
			if strings.HasPrefix(other, "failed") && a.name == "waitWrite" {
				e.SetReadDeadline(past) // p has finished: nothing comes
			}
			r := <-reading
			check(b[:r.n])
			got = describe(r.n, r.err) + ", " + other
		}
		results = append(results, fmt.Sprintf("%s of %d, %d: %s", a.name, a.end, a.n, got))
	}
	return results
}

// describe returns a result as users see it.
func describe(n int, err error) string {
	var op *net.OpError
	ok := errors.As(err, &op)
	var timeout net.Error
	switch {
	case err == nil:
		return fmt.Sprint(n)
	case err == io.EOF:
		return fmt.Sprint(n, " EOF")
	case !ok:
		return fmt.Sprint(n, " ", err)
	case errors.Is(err, net.ErrClosed):
		return fmt.Sprint("failed: ", n, " closed ", op.Op)
	case errors.Is(err, os.ErrDeadlineExceeded):
		errors.As(err, &timeout)
		return fmt.Sprint("failed: ", n, " timeout ", op.Op, timeout.Timeout())
	case isReset(err):
		return fmt.Sprint("failed: ", n, " reset ", op.Op)
	}
	return fmt.Sprint("failed: ", n, " ", err)
}

// runOnNet returns the results of package net.
func runOnNet(t *testing.T, program []action) []string {
	t.Helper()
	ln := must(net.Listen("tcp", "127.0.0.1:0"))
	defer ln.Close()
	d := must(net.Dial("tcp", ln.Addr().String())).(end)
	defer d.Close()
	a := must(ln.Accept()).(end)
	defer a.Close()
	results := run(program, [2]end{d, a})
	if sys.OnWine() {
		showResets(results) // package net has operations in flight, as the overlapped driver has
	}
	return results
}

// showResets replaces the results of which resetMayBeEOF holds.
func showResets(results []string) {
	for i, r := range results {
		if strings.HasPrefix(r, "readReset") {
			results[i] = strings.Replace(r, "0 EOF", "failed: 0 reset read", 1)
		}
	}
}

// Random programs get the results of package net.
func TestModel(t *testing.T) {
	programs := 150
	switch {
	case testkit.Long() && testkit.Race:
		programs = 500
	case testkit.Long():
		programs = 5000
	}
	drawn, want := make([][]action, programs), make([][]string, programs)
	for i := range drawn {
		drawn[i] = drawProgram(uint64(i))
		want[i] = runOnNet(t, drawn[i])
	}
	everywhere(t, func(t *testing.T, g *loop.Group) {
		for i, program := range drawn {
			d, a := pair(t, g, "tcp")
			got := run(program, [2]end{d, a})
			d.Close()
			a.Close()
			if hidesResets(g) {
				showResets(got)
			}
			if slices.Equal(got, want[i]) {
				continue
			}
			for j := range min(len(got), len(want[i])) {
				if got[j] != want[i][j] {
					t.Fatalf("seed %d: after\n%s\ngot  %s\nwant %s", i, strings.Join(want[i][:j], "\n"), got[j], want[i][j])
				}
			}
			t.Fatalf("seed %d: other bytes", i)
		}
	})
}
