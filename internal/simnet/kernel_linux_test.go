package simnet_test

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/pollux-io/pollux/internal/simnet"
	"github.com/pollux-io/pollux/internal/sys"
	"github.com/pollux-io/pollux/internal/testkit"
)

// Each behaviour is a function that makes calls on sockets and records their results. It runs on the
// kernel's sockets and on simulated ones, and both records must be the same.
type recorder struct {
	t       *testing.T
	kernel  func(family, typ int) (sys.FD, syscall.Errno)
	state   func(fd sys.FD) simnet.State
	folder  string
	fds     []sys.FD
	lines   []string
	quietly bool
}

func (r *recorder) record(format string, args ...any) {
	r.t.Helper()
	if !r.quietly {
		r.lines = append(r.lines, fmt.Sprintf(format, args...))
	}
}

func errname(e syscall.Errno) string {
	if e == 0 {
		return "ok"
	}
	return fmt.Sprintf("%v (%d)", e, int(e))
}

func (r *recorder) socket(family, typ int) sys.FD {
	fd, e := r.kernel(family, typ)
	if e != 0 {
		r.t.Fatalf("socket: %v", e)
	}
	r.fds = append(r.fds, fd)
	return fd
}

func (r *recorder) close(fd sys.FD) {
	for i, open := range r.fds {
		if open == fd {
			r.fds = append(r.fds[:i], r.fds[i+1:]...)
			sys.Close(fd)
			return
		}
	}
	r.t.Fatal("closed twice")
}

func ipAddr(s string) *sys.Sockaddr {
	ap := netip.MustParseAddrPort(s)
	var a sys.Sockaddr
	if !a.SetAddrPort(ap, sys.FamilyOf(ap.Addr())) {
		panic(s)
	}
	return &a
}

func (r *recorder) unixAddr(name string) *sys.Sockaddr {
	if name[0] != '@' {
		name = filepath.Join(r.folder, name)
	}
	var a sys.Sockaddr
	if !a.SetUnix(name) {
		panic(name)
	}
	return &a
}

func (r *recorder) bind(fd sys.FD, a *sys.Sockaddr) {
	r.t.Helper()
	r.record("bind %s", errname(sys.Bind(fd, a)))
}

// listener returns a listener and its address.
func (r *recorder) listener(family, backlog int) (sys.FD, *sys.Sockaddr) {
	r.t.Helper()
	l := r.socket(family, sys.SOCK_STREAM)
	switch family {
	case sys.AF_UNIX:
		sys.Bind(l, r.unixAddr("listener"))
	case sys.AF_INET6:
		sys.Bind(l, ipAddr("[::1]:0"))
	default:
		sys.Bind(l, ipAddr("127.0.0.1:0"))
	}
	r.record("listen %s", errname(sys.Listen(l, backlog)))
	a, e := sys.LocalAddr(l)
	if e != 0 {
		r.t.Fatal(e)
	}
	return l, &a
}

func (r *recorder) connect(fd sys.FD, a *sys.Sockaddr) {
	r.t.Helper()
	r.record("connect %s", errname(sys.Connect(fd, a)))
}

func (r *recorder) accept(l sys.FD) sys.FD {
	r.t.Helper()
	var from sys.Sockaddr
	var fd sys.FD
	e := r.retry(func() (e syscall.Errno) {
		fd, e = sys.Accept(l, &from)
		return e
	})
	if e != 0 {
		r.t.Fatalf("accept: %v", e)
	}
	r.fds = append(r.fds, fd)
	return fd
}

// retry calls f until it does not return EAGAIN.
func (r *recorder) retry(f func() syscall.Errno) (e syscall.Errno) {
	r.await(func() bool {
		e = f()
		return e != syscall.EAGAIN
	})
	return e
}

// pair returns two connected sockets: the client's, and the accepted one.
func (r *recorder) pair(family int) (client, server sys.FD) {
	r.t.Helper()
	was := r.quietly
	r.quietly = true
	defer func() { r.quietly = was }()
	l, a := r.listener(family, 10)
	client = r.socket(family, sys.SOCK_STREAM)
	r.connect(client, a)
	server = r.accept(l)
	r.close(l)
	if family == sys.AF_UNIX {
		os.Remove(filepath.Join(r.folder, "listener"))
	}
	return client, server
}

// resetAfterBytes returns a socket that has an unread message, and whose peer has closed with another one
// unread: that resets the connection.
func (r *recorder) resetAfterBytes(family int) sys.FD {
	c, s := r.pair(family)
	r.send(s, "hello")
	r.send(c, "unread")
	r.awaitUnread(c, 5)
	r.awaitUnread(s, 6)
	r.close(c)
	r.poll(s, in|hup)
	return s
}

func (r *recorder) send(fd sys.FD, s string) {
	r.t.Helper()
	n, e := sys.Send(fd, []byte(s), 0)
	r.record("send %q: %d %s", s, n, errname(e))
}

// recv records a receive, once there is something to receive.
func (r *recorder) recv(fd sys.FD, size int) {
	r.t.Helper()
	b := make([]byte, size)
	var n int
	e := r.retry(func() (e syscall.Errno) {
		n, e = sys.Recv(fd, b, 0)
		return e
	})
	r.record("recv: %q %s", b[:n], errname(e))
}

// recvNow records a receive.
func (r *recorder) recvNow(fd sys.FD, size, flags int) {
	r.t.Helper()
	b := make([]byte, size)
	n, e := sys.Recv(fd, b, flags)
	r.record("recv: %q %s", b[:n], errname(e))
}

func (r *recorder) shutdown(fd sys.FD, how int) {
	r.t.Helper()
	r.record("shutdown %d: %s", how, errname(sys.Shutdown(fd, how)))
}

func (r *recorder) peer(fd sys.FD) {
	r.t.Helper()
	_, e := sys.PeerAddr(fd)
	r.record("getpeername: %s", errname(e))
}

func (r *recorder) socketError(fd sys.FD) {
	r.t.Helper()
	r.record("SO_ERROR: %s", errname(sys.SocketError(fd)))
}

// poll waits until the socket's state has what it must, and records the state.
func (r *recorder) poll(fd sys.FD, must simnet.State) {
	r.t.Helper()
	var got simnet.State
	r.await(func() bool {
		got = r.state(fd)
		return got&must == must
	})
	r.record("state %v", got)
}

func (r *recorder) counts(fd sys.FD) {
	r.t.Helper()
	unread, _ := sys.UnreadBytes(fd)
	unacked, _ := sys.UnackedBytes(fd)
	r.record("unread %d, unacked %d", unread, unacked)
}

// pollState translates poll(2).
func pollState(fd sys.FD) (s simnet.State) {
	fds := []sys.PollFD{{Fd: int32(fd), Events: sys.POLLIN | sys.POLLOUT | sys.POLLPRI | sys.POLLRDHUP}}
	sys.Poll(fds, 0)
	for _, f := range []struct {
		events int16
		state  simnet.State
	}{
		{sys.POLLIN, simnet.Readable},
		{sys.POLLOUT, simnet.Writable},
		{sys.POLLRDHUP, simnet.ReadClosed},
		{sys.POLLERR | sys.POLLHUP, simnet.Failed},
		{sys.POLLPRI, simnet.Urgent},
		{sys.POLLERR, simnet.PendingError},
	} {
		if fds[0].Revents&f.events != 0 {
			s |= f.state
		}
	}
	return s
}

func kernelRecorder(t *testing.T) *recorder {
	return &recorder{
		t: t, folder: testkit.TempDir(t), state: pollState,
		kernel: func(family, typ int) (sys.FD, syscall.Errno) { return sys.Socket(family, typ, 0) },
	}
}

func simulatedRecorder(t *testing.T, h *simnet.Host) *recorder {
	return &recorder{t: t, folder: "/folder", kernel: h.Socket, state: func(fd sys.FD) simnet.State {
		s, _ := simnet.SocketOf(sys.Virtual(fd))
		return s.State()
	}}
}

func TestBehavesLikeLinux(t *testing.T) {
	for _, b := range behaviours {
		for _, family := range b.families {
			t.Run(b.name+"/"+map[int]string{sys.AF_INET: "IPv4", sys.AF_INET6: "IPv6", sys.AF_UNIX: "Unix"}[family], func(t *testing.T) {
				t.Parallel()
				run := func(r *recorder) []string {
					b.run(r, family)
					for len(r.fds) > 0 {
						r.close(r.fds[0])
					}
					return r.lines
				}
				want := run(kernelRecorder(t))
				n := simnet.New(simnet.Config{})
				defer n.Close()
				h := n.Host()
				got := run(simulatedRecorder(t, h))
				if h.Descriptors() != 0 {
					t.Errorf("%d descriptors are open", h.Descriptors())
				}
				for i := range max(len(want), len(got)) {
					w, g := line(want, i), line(got, i)
					if w != g {
						t.Errorf("line %d, after\n%s\nthe kernel: %s\nsimulated:  %s", i, strings.Join(want[max(i-3, 0):i], "\n"), w, g)
					}
				}
			})
		}
	}
}

func line(all []string, i int) string {
	if i < len(all) {
		return all[i]
	}
	return "nothing"
}

var (
	tcp      = []int{sys.AF_INET, sys.AF_INET6}
	unix     = []int{sys.AF_UNIX}
	anyKind  = []int{sys.AF_INET, sys.AF_INET6, sys.AF_UNIX}
	justIPv4 = []int{sys.AF_INET}
)

// await waits until a condition that both kinds of sockets reach.
func (r *recorder) await(f func() bool) {
	r.t.Helper()
	if !testkit.Eventually(f) {
		r.t.Fatalf("waited in vain, after:\n%s", strings.Join(r.lines, "\n"))
	}
}

func (r *recorder) awaitUnread(fd sys.FD, bytes int) {
	r.t.Helper()
	r.await(func() bool { n, _ := sys.UnreadBytes(fd); return n >= bytes })
}

const (
	in    = simnet.Readable
	out   = simnet.Writable
	rdhup = simnet.ReadClosed
	hup   = simnet.Failed
)

var behaviours = []struct {
	name     string
	families []int
	run      func(r *recorder, family int)
}{
	{"refused", tcp, func(r *recorder, family int) {
		l, a := r.listener(family, 1)
		r.close(l)
		c := r.socket(family, sys.SOCK_STREAM)
		r.connect(c, a)
		r.poll(c, in|hup)
		r.peer(c)
		r.socketError(c)
		r.socketError(c)
		r.recvNow(c, 5, 0)
		r.send(c, "x")
		r.shutdown(c, sys.SHUT_WR)
		r.poll(c, 0)
	}},
	{"refused, read first", tcp, func(r *recorder, family int) {
		l, a := r.listener(family, 1)
		r.close(l)
		c := r.socket(family, sys.SOCK_STREAM)
		r.connect(c, a)
		r.poll(c, in)
		r.recvNow(c, 5, 0)
		r.recvNow(c, 5, 0)
		r.socketError(c)
	}},
	{"refused, written first", tcp, func(r *recorder, family int) {
		l, a := r.listener(family, 1)
		r.close(l)
		c := r.socket(family, sys.SOCK_STREAM)
		r.connect(c, a)
		r.poll(c, in)
		r.send(c, "x")
		r.send(c, "x")
		r.recvNow(c, 5, 0)
	}},
	{"connected", anyKind, func(r *recorder, family int) {
		c, s := r.pair(family)
		r.poll(c, out)
		r.poll(s, out)
		r.peer(c)
		r.peer(s)
		r.socketError(c)
		r.recvNow(c, 5, 0)
		r.send(c, "hello")
		r.awaitUnread(s, 5)
		r.poll(s, in)
		r.counts(s)
		r.recvNow(s, 3, sys.MSG_PEEK)
		r.recvNow(s, 3, 0)
		r.counts(s)
		r.recvNow(s, 5, 0)
		r.recvNow(s, 5, 0)
		r.counts(c)
		r.connect(c, r.localAddr(s))
	}},
	{"nothing to transfer", anyKind, func(r *recorder, family int) {
		c, s := r.pair(family)
		r.send(c, "")
		r.send(c, "x")
		r.awaitUnread(s, 1)
		r.recvNow(s, 0, 0)
		r.recvNow(s, 1, 0)
	}},
	{"not connected", anyKind, func(r *recorder, family int) {
		c := r.socket(family, sys.SOCK_STREAM)
		r.poll(c, 0)
		r.recvNow(c, 5, 0)
		r.send(c, "x")
		r.peer(c)
		r.shutdown(c, sys.SHUT_RDWR)
		r.shutdown(c, 77)
		r.poll(c, 0)
		var from sys.Sockaddr
		_, e := sys.Accept(c, &from)
		r.record("accept %s", errname(e))
	}},
	{"peer closes", anyKind, func(r *recorder, family int) {
		c, s := r.pair(family)
		r.send(c, "hello")
		r.close(c)
		r.poll(s, in|rdhup)
		r.recv(s, 3)
		r.recv(s, 3)
		r.recv(s, 3)
		r.recv(s, 3)
		r.socketError(s)
		r.peer(s)
		r.poll(s, 0)
	}},
	{"write after the peer has closed", tcp, func(r *recorder, family int) {
		c, s := r.pair(family)
		r.close(c)
		r.recv(s, 3)
		r.send(s, "x")
		r.poll(s, in|hup)
		r.send(s, "x")
		r.send(s, "x")
		r.recvNow(s, 3, 0)
		r.socketError(s)
		r.shutdown(s, sys.SHUT_WR)
		r.peer(s)
	}},
	{"write to a closed Unix peer", unix, func(r *recorder, family int) {
		c, s := r.pair(family)
		r.close(c)
		r.poll(s, in|hup)
		r.send(s, "x")
		r.recvNow(s, 3, 0)
		r.socketError(s)
		r.shutdown(s, sys.SHUT_WR)
		r.peer(s)
	}},
	{"closed with unread bytes", anyKind, func(r *recorder, family int) {
		c, s := r.pair(family)
		r.send(s, "hello")
		r.awaitUnread(c, 5)
		r.close(c)
		r.poll(s, in|hup)
		r.counts(s)
		r.recvNow(s, 3, 0)
		r.recvNow(s, 3, 0)
		r.send(s, "x")
		r.peer(s)
		r.poll(s, 0)
	}},
	{"closed with unread bytes, written first", anyKind, func(r *recorder, family int) {
		c, s := r.pair(family)
		r.send(s, "hello")
		r.awaitUnread(c, 5)
		r.close(c)
		r.poll(s, in|hup)
		r.send(s, "x")
		r.send(s, "x")
		r.recvNow(s, 3, 0)
		r.recvNow(s, 3, 0)
	}},
	{"reset after bytes", anyKind, func(r *recorder, family int) {
		s := r.resetAfterBytes(family)
		r.counts(s)
		r.recvNow(s, 3, 0)
		r.recvNow(s, 30, 0)
		r.recvNow(s, 3, 0)
		r.recvNow(s, 3, 0)
	}},
	{"reset after bytes, error taken", anyKind, func(r *recorder, family int) {
		s := r.resetAfterBytes(family)
		r.socketError(s)
		r.socketError(s)
		r.recvNow(s, 30, 0)
		r.recvNow(s, 3, 0)
	}},
	{"reset after FIN", tcp, func(r *recorder, family int) {
		c, s := r.pair(family)
		r.send(s, "hello")
		r.awaitUnread(c, 5)
		r.shutdown(c, sys.SHUT_WR)
		r.poll(s, in|rdhup)
		r.close(c)
		r.poll(s, in|hup)
		r.recvNow(s, 3, 0)
		r.socketError(s)
		r.recvNow(s, 3, 0)
	}},
	{"linger 0", anyKind, func(r *recorder, family int) {
		c, s := r.pair(family)
		r.record("linger %s", errname(sys.SetLinger(c, true, 0)))
		r.send(c, "hello")
		r.awaitUnread(s, 5)
		r.close(c)
		r.poll(s, in|rdhup)
		r.recvNow(s, 30, 0)
		r.recvNow(s, 30, 0)
		r.recvNow(s, 30, 0)
	}},
	{"half-closed", anyKind, func(r *recorder, family int) {
		c, s := r.pair(family)
		r.send(c, "hello")
		r.shutdown(c, sys.SHUT_WR)
		r.send(c, "x")
		r.poll(s, in|rdhup)
		r.recv(s, 30)
		r.recv(s, 30)
		r.poll(c, out)
		r.send(s, "answer")
		r.recv(c, 30)
		r.recvNow(c, 30, 0)
		r.shutdown(c, sys.SHUT_WR)
		r.shutdown(s, sys.SHUT_WR)
		r.poll(c, in|rdhup)
		r.recv(c, 30)
		r.send(s, "x")
		r.poll(s, hup)
		r.counts(c)
	}},
	{"reading shut down", anyKind, func(r *recorder, family int) {
		c, s := r.pair(family)
		r.send(s, "early")
		r.awaitUnread(c, 5)
		r.shutdown(c, sys.SHUT_RD)
		r.poll(c, in|rdhup)
		r.poll(s, out)
		r.recvNow(c, 30, 0)
		r.recvNow(c, 30, 0)
		r.send(c, "x")
		r.recv(s, 30)
	}},
	{"bytes after reading was shut down", tcp, func(r *recorder, family int) {
		c, s := r.pair(family)
		r.shutdown(c, sys.SHUT_RD)
		r.send(s, "late")
		r.awaitUnread(c, 4)
		r.recvNow(c, 30, 0)
		r.recvNow(c, 30, 0)
	}},
	{"bytes after reading was shut down", unix, func(r *recorder, family int) {
		c, s := r.pair(family)
		r.shutdown(c, sys.SHUT_RD)
		r.send(s, "late")
		r.recvNow(c, 30, 0)
		r.recvNow(s, 30, 0)
		r.send(c, "x")
		r.recvNow(s, 30, 0)
	}},
	{"both directions shut down", anyKind, func(r *recorder, family int) {
		c, s := r.pair(family)
		r.shutdown(c, sys.SHUT_RDWR)
		r.poll(c, in|hup)
		r.recvNow(c, 5, 0)
		r.send(c, "x")
		r.poll(s, in|rdhup)
		r.recvNow(s, 5, 0)
	}},
	{"listener", anyKind, func(r *recorder, family int) {
		l, a := r.listener(family, 5)
		r.poll(l, 0)
		r.recvNow(l, 5, 0)
		r.send(l, "x")
		r.peer(l)
		var from sys.Sockaddr
		_, e := sys.Accept(l, &from)
		r.record("accept %s", errname(e))
		if family != sys.AF_UNIX {
			r.connect(l, a)
		}
		r.record("listen %s", errname(sys.Listen(l, 7)))
		v, e := sys.GetInt(l, sys.SOL_SOCKET, sys.SO_ACCEPTCONN)
		r.record("SO_ACCEPTCONN %d %s", v, errname(e))
		c := r.socket(family, sys.SOCK_STREAM)
		r.connect(c, a)
		r.poll(l, in)
		s := r.accept(l)
		r.poll(l, 0)
		r.poll(s, out)
		r.record("listen %s", errname(sys.Listen(s, 7)))
		r.shutdown(l, sys.SHUT_WR)
		r.shutdown(l, sys.SHUT_RD)
		_, e = sys.Accept(l, &from)
		r.record("accept %s", errname(e))
		d := r.socket(family, sys.SOCK_STREAM)
		r.connect(d, a)
		if family != sys.AF_UNIX {
			r.poll(d, hup)
			r.socketError(d)
		}
	}},
	{"full backlog", tcp, func(r *recorder, family int) {
		l, a := r.listener(family, 1)
		for range 2 {
			c := r.socket(family, sys.SOCK_STREAM)
			r.connect(c, a)
			r.poll(c, out)
		}
		third := r.socket(family, sys.SOCK_STREAM)
		r.connect(third, a)
		r.connect(third, a)
		r.peer(third)
		r.poll(third, 0)
		r.recvNow(third, 5, 0)
		r.send(third, "x")
		r.socketError(third)
		r.accept(l)
		r.poll(third, out) // it is sent again
		r.accept(l)
		r.accept(l)
	}},
	{"full backlog", unix, func(r *recorder, family int) {
		l, a := r.listener(family, 1)
		for range 2 {
			c := r.socket(family, sys.SOCK_STREAM)
			r.connect(c, a)
			r.poll(c, out)
		}
		third := r.socket(family, sys.SOCK_STREAM)
		r.connect(third, a)
		r.accept(l)
		r.connect(third, a)
		r.connect(third, a)
	}},
	{"shut down while connecting", justIPv4, func(r *recorder, family int) {
		_, a := r.listener(family, 0)
		for range 2 {
			c := r.socket(family, sys.SOCK_STREAM)
			r.connect(c, a)
			if len(r.fds) == 2 {
				r.poll(c, out)
				continue
			}
			r.shutdown(c, sys.SHUT_WR)
			r.poll(c, 0)
			r.recvNow(c, 5, 0)
			r.send(c, "x")
		}
	}},
	{"written before it is accepted", anyKind, func(r *recorder, family int) {
		l, a := r.listener(family, 5)
		c := r.socket(family, sys.SOCK_STREAM)
		r.connect(c, a)
		r.poll(c, out)
		r.send(c, "hello")
		r.close(c)
		r.poll(l, in)
		s := r.accept(l)
		r.recv(s, 30)
		r.recv(s, 30)
	}},
	{"reset before it is accepted", tcp, func(r *recorder, family int) {
		l, a := r.listener(family, 5)
		c := r.socket(family, sys.SOCK_STREAM)
		r.connect(c, a)
		r.poll(c, out)
		r.poll(l, in)
		sys.SetLinger(c, true, 0)
		r.close(c)
		s := r.accept(l)
		r.poll(s, hup)
		r.recvNow(s, 30, 0)
		r.recvNow(s, 30, 0)
	}},
	{"listener closes before it accepts", anyKind, func(r *recorder, family int) {
		l, a := r.listener(family, 5)
		c := r.socket(family, sys.SOCK_STREAM)
		r.connect(c, a)
		r.poll(c, out)
		r.send(c, "hello")
		r.poll(l, in)
		r.close(l)
		r.poll(c, hup)
		r.recvNow(c, 30, 0)
		r.recvNow(c, 30, 0)
		r.send(c, "x")
	}},
	{"duplicates", anyKind, func(r *recorder, family int) {
		c, s := r.pair(family)
		dup, e := sys.Dup(c)
		r.record("dup %s", errname(e))
		r.fds = append(r.fds, dup)
		r.close(c)
		r.send(dup, "hello")
		r.recv(s, 30)
		r.recvNow(s, 30, 0)
		r.close(dup)
		r.recv(s, 30)
	}},
	{"sent until it is full", anyKind, func(r *recorder, family int) {
		c, s := r.pair(family)
		b := make([]byte, 64<<10)
		sent, n, e := 0, 0, syscall.Errno(0)
		// A busy kernel may move bytes later, and then there is room again: the last send decides.
		for idle := 0; idle < 200; idle++ {
			if n, e = sys.Send(c, b, 0); n > 0 {
				sent += n
				idle = 0
			}
			if e != 0 && e != syscall.EAGAIN {
				r.record("send %s", errname(e))
				break
			}
			time.Sleep(100 * time.Microsecond)
		}
		r.record("full: %v, %d %s", sent > 100<<10, n, errname(e))
		r.poll(c, 0)
		r.shutdown(c, sys.SHUT_WR)
		for got := 0; got < sent; {
			n, e := sys.Recv(s, b, 0)
			if e != 0 && e != syscall.EAGAIN {
				r.record("recv %s", errname(e))
				break
			}
			got += n
		}
		r.recv(s, 5)
	}},
	{"becomes writable", anyKind, func(r *recorder, family int) {
		c, s := r.pair(family)
		r.record("set %s", errname(sys.SetInt(c, sys.SOL_SOCKET, sys.SO_SNDBUF, 20_000)))
		b := make([]byte, 1<<20)
		r.await(func() bool { sys.Send(c, b, 0); return r.state(c)&out == 0 })
		r.await(func() bool { sys.Recv(s, b, 0); return r.state(c)&out != 0 })
		r.poll(c, out)
	}},
	{"urgent byte", tcp, func(r *recorder, family int) {
		c, s := r.pair(family)
		r.recvNow(s, 1, sys.MSG_OOB)
		n, e := sys.Send(c, []byte("u"), sys.MSG_OOB)
		r.record("send %d %s", n, errname(e))
		r.poll(s, simnet.Urgent)
		r.recvNow(s, 1, sys.MSG_OOB)
		r.recvNow(s, 1, sys.MSG_OOB)
		r.send(c, "next")
		r.recv(s, 10)
	}},
	{"urgent byte on a Unix socket", unix, func(r *recorder, family int) {
		c := r.socket(family, sys.SOCK_STREAM)
		r.recvNow(c, 1, sys.MSG_OOB)
	}},
	{"names of Unix sockets", unix, func(r *recorder, family int) {
		c := r.socket(family, sys.SOCK_STREAM)
		r.connect(c, r.unixAddr("missing"))
		r.connect(c, r.unixAddr("@missing-of-pollux"))
		b := r.socket(family, sys.SOCK_STREAM)
		r.bind(b, r.unixAddr("bound"))
		r.bind(b, r.unixAddr("again"))
		r.connect(c, r.unixAddr("bound"))
		r.bind(c, r.unixAddr("bound"))
		r.record("listen unbound %s", errname(sys.Listen(c, 1)))
		r.bind(c, r.unixAddr("client"))
		r.record("listen %s", errname(sys.Listen(b, 1)))
		r.connect(c, r.unixAddr("bound"))
		s := r.accept(b)
		a, _ := sys.PeerAddr(s)
		r.record("peer %s", filepath.Base(a.Unix()))
		a, _ = sys.LocalAddr(s)
		r.record("local %s", filepath.Base(a.Unix()))
		a, _ = sys.PeerAddr(c)
		r.record("peer %s", filepath.Base(a.Unix()))
		r.connect(c, r.unixAddr("bound"))
		r.connect(b, r.unixAddr("bound"))
		d := r.socket(family, sys.SOCK_STREAM)
		r.connect(d, ipAddr("127.0.0.1:1"))
		r.bind(d, ipAddr("127.0.0.1:1"))
	}},
	{"addresses in use", justIPv4, func(r *recorder, family int) {
		addresses := []string{"127.0.0.1:%d", "0.0.0.0:%d", "[::1]:%d", "[::]:%d", "127.0.0.2:%d"}
		attempt := func(first, second string, reuse, listen int, v6only [2]int) (e syscall.Errno) {
			var fds [2]sys.FD
			port := 0
			for i, a := range []string{first, second} {
				to := ipAddr(fmt.Sprintf(a, port))
				fds[i] = r.socket(to.Family(), sys.SOCK_STREAM)
				if to.Family() == sys.AF_INET6 {
					sys.SetInt(fds[i], sys.IPPROTO_IPV6, sys.IPV6_V6ONLY, v6only[i])
				}
				switch reuse {
				case 1:
					sys.SetInt(fds[i], sys.SOL_SOCKET, sys.SO_REUSEADDR, 1)
				case 2:
					sys.SetInt(fds[i], sys.SOL_SOCKET, sys.SO_REUSEPORT, 1)
				}
				e = sys.Bind(fds[i], to)
				if i == 0 && listen > 0 {
					e = max(e, sys.Listen(fds[i], 1))
				}
				if i == 1 && e == 0 && listen == 2 {
					e = sys.Listen(fds[i], 1)
				}
				local, _ := sys.LocalAddr(fds[i])
				port = int(local.AddrPort().Port())
			}
			r.close(fds[0])
			r.close(fds[1])
			return e
		}
		try := func(first, second string, reuse, listen int, v6only [2]int) {
			var e syscall.Errno
			for range 5 { // another process may have the port that the kernel has chosen
				if e = attempt(first, second, reuse, listen, v6only); e != syscall.EADDRINUSE {
					break
				}
			}
			r.record("%s %s reuse %d listen %d v6only %v: %s", first, second, reuse, listen, v6only, errname(e))
		}
		for _, first := range addresses {
			for _, second := range addresses {
				for reuse := range 3 {
					for listen := range 3 {
						for only := range 4 {
							try(first, second, reuse, listen, [2]int{only & 1, only >> 1})
						}
					}
				}
			}
		}
	}},
	{"addresses", tcp, func(r *recorder, family int) {
		l, a := r.listener(family, 5)
		c := r.socket(family, sys.SOCK_STREAM)
		local, e := sys.LocalAddr(c)
		r.record("local %v %s", local.AddrPort(), errname(e))
		r.connect(c, a)
		r.poll(c, out)
		s := r.accept(l)
		local, _ = sys.LocalAddr(c)
		peer, _ := sys.PeerAddr(s)
		r.record("same %v %v", local.AddrPort() == peer.AddrPort(), local.AddrPort().Addr())
		peer, _ = sys.PeerAddr(c)
		r.record("same %v", peer.AddrPort() == a.AddrPort())
		r.bind(c, a)
		b := r.socket(family, sys.SOCK_STREAM)
		if family == sys.AF_INET {
			r.bind(b, ipAddr("9.9.9.9:0"))
			r.bind(b, ipAddr("[::1]:0"))
		} else {
			r.bind(b, ipAddr("[2001:db8::9]:0"))
		}
		r.bind(b, a)
	}},
	{"an IPv6 listener for IPv4", justIPv4, func(r *recorder, _ int) {
		l := r.socket(sys.AF_INET6, sys.SOCK_STREAM)
		sys.SetInt(l, sys.IPPROTO_IPV6, sys.IPV6_V6ONLY, 0)
		r.bind(l, ipAddr("[::]:0"))
		sys.Listen(l, 5)
		a, _ := sys.LocalAddr(l)
		c := r.socket(sys.AF_INET, sys.SOCK_STREAM)
		r.connect(c, ipAddr(netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), a.AddrPort().Port()).String()))
		r.poll(c, out)
		s := r.accept(l)
		peer, _ := sys.PeerAddr(s)
		local, _ := sys.LocalAddr(s)
		r.record("%v %v %v", peer.Family() == sys.AF_INET6, peer.AddrPort().Addr(), local.AddrPort().Addr())
	}},
	{"an IPv6 socket to IPv4", justIPv4, func(r *recorder, family int) {
		_, a := r.listener(family, 5)
		c := r.socket(sys.AF_INET6, sys.SOCK_STREAM)
		var mapped sys.Sockaddr
		mapped.SetAddrPort(a.AddrPort(), sys.AF_INET6)
		sys.SetInt(c, sys.IPPROTO_IPV6, sys.IPV6_V6ONLY, 1)
		r.connect(c, &mapped)
		sys.SetInt(c, sys.IPPROTO_IPV6, sys.IPV6_V6ONLY, 0)
		r.connect(c, &mapped)
		r.poll(c, out)
		local, _ := sys.LocalAddr(c)
		r.record("%v", local.AddrPort().Addr())
		r.connect(r.socket(sys.AF_INET6, sys.SOCK_STREAM), a)
		r.connect(r.socket(sys.AF_INET, sys.SOCK_STREAM), &mapped)
		r.connect(r.socket(sys.AF_INET, sys.SOCK_STREAM), r.unixAddr("x"))
	}},
	{"options", anyKind, func(r *recorder, family int) {
		c := r.socket(family, sys.SOCK_STREAM)
		for _, o := range []struct {
			name           string
			level, option  int
			value          int
			withoutDefault bool
		}{
			{"SO_SNDBUF", sys.SOL_SOCKET, sys.SO_SNDBUF, 10_000, true},
			{"SO_SNDBUF", sys.SOL_SOCKET, sys.SO_SNDBUF, 1, true},
			{"SO_RCVBUF", sys.SOL_SOCKET, sys.SO_RCVBUF, 10_000, true},
			{"SO_RCVBUF", sys.SOL_SOCKET, sys.SO_RCVBUF, 1, true},
			{"SO_REUSEADDR", sys.SOL_SOCKET, sys.SO_REUSEADDR, 1, false},
			{"SO_KEEPALIVE", sys.SOL_SOCKET, sys.SO_KEEPALIVE, 5, false},
			{"SO_BROADCAST", sys.SOL_SOCKET, sys.SO_BROADCAST, 1, false},
			{"TCP_NODELAY", sys.IPPROTO_TCP, sys.TCP_NODELAY, 1, false},
			{"TCP_KEEPIDLE", sys.IPPROTO_TCP, sys.TCP_KEEPIDLE, 100, false},
			{"TCP_KEEPIDLE", sys.IPPROTO_TCP, sys.TCP_KEEPIDLE, 0, false},
			{"TCP_KEEPIDLE", sys.IPPROTO_TCP, sys.TCP_KEEPIDLE, 32768, false},
			{"TCP_KEEPINTVL", sys.IPPROTO_TCP, sys.TCP_KEEPINTVL, 100, false},
			{"TCP_KEEPCNT", sys.IPPROTO_TCP, sys.TCP_KEEPCNT, 127, false},
			{"TCP_KEEPCNT", sys.IPPROTO_TCP, sys.TCP_KEEPCNT, 128, false},
			{"TCP_USER_TIMEOUT", sys.IPPROTO_TCP, sys.TCP_USER_TIMEOUT, 1000, false},
			{"TCP_USER_TIMEOUT", sys.IPPROTO_TCP, sys.TCP_USER_TIMEOUT, -1, false},
			{"IP_TTL", sys.IPPROTO_IP, sys.IP_TTL, 7, false},
			{"IP_TTL", sys.IPPROTO_IP, sys.IP_TTL, 256, false},
			{"IPV6_V6ONLY", sys.IPPROTO_IPV6, sys.IPV6_V6ONLY, 1, false},
			{"IPV6_UNICAST_HOPS", sys.IPPROTO_IPV6, sys.IPV6_UNICAST_HOPS, 7, false},
			{"unknown", sys.SOL_SOCKET, 7777, 7, false},
			{"unknown", sys.IPPROTO_TCP, 7777, 7, false},
		} {
			if !o.withoutDefault {
				v, e := sys.GetInt(c, o.level, o.option)
				r.record("%s: %d %s", o.name, v, errname(e))
			}
			e := sys.SetInt(c, o.level, o.option, o.value)
			r.record("set %s: %s", o.name, errname(e))
			v, e := sys.GetInt(c, o.level, o.option)
			r.record("%s: %d %s", o.name, v, errname(e))
		}
		typ, e := sys.GetInt(c, sys.SOL_SOCKET, sys.SO_TYPE)
		r.record("SO_TYPE %v %s", typ == sys.SOCK_STREAM, errname(e))
		v, e := sys.GetInt(c, sys.SOL_SOCKET, sys.SO_ACCEPTCONN)
		r.record("SO_ACCEPTCONN %d %s", v, errname(e))
	}},
	{"inherited options", tcp, func(r *recorder, family int) {
		l := r.socket(family, sys.SOCK_STREAM)
		options := [][3]int{
			{sys.IPPROTO_TCP, sys.TCP_NODELAY, 1},
			{sys.SOL_SOCKET, sys.SO_KEEPALIVE, 1},
			{sys.IPPROTO_TCP, sys.TCP_KEEPIDLE, 33},
			{sys.SOL_SOCKET, sys.SO_RCVBUF, 5000},
			{sys.SOL_SOCKET, sys.SO_SNDBUF, 7000},
			{sys.IPPROTO_TCP, sys.TCP_USER_TIMEOUT, 5000},
		}
		for _, o := range options {
			sys.SetInt(l, o[0], o[1], o[2])
		}
		sys.Bind(l, ipAddr(map[int]string{sys.AF_INET: "127.0.0.1:0", sys.AF_INET6: "[::1]:0"}[family]))
		sys.Listen(l, 5)
		a, _ := sys.LocalAddr(l)
		c := r.socket(family, sys.SOCK_STREAM)
		r.connect(c, &a)
		s := r.accept(l)
		for _, o := range options {
			v, e := sys.GetInt(s, o[0], o[1])
			r.record("%v: %d %s", o, v, errname(e))
		}
	}},
}

func (r *recorder) localAddr(fd sys.FD) *sys.Sockaddr {
	a, e := sys.LocalAddr(fd)
	if e != 0 {
		r.t.Fatal(e)
	}
	return &a
}
