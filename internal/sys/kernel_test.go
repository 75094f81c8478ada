package sys

import (
	"bytes"
	"syscall"
	"testing"
)

// fakeSocket records the calls that reach it. Those it does not have panic.
type fakeSocket struct {
	VirtualSocket
	data   []byte
	sent   []byte
	closed []FD
}

func (s *fakeSocket) UnreadBytes() (int, bool) { return len(s.data), true }

func (s *fakeSocket) Recv(bufs [][]byte, _ int) (n int, e syscall.Errno) {
	for _, b := range bufs {
		k := copy(b, s.data)
		s.data = s.data[k:]
		n += k
	}
	return n, 0
}

func (s *fakeSocket) Send(bufs [][]byte, _ int) (int, syscall.Errno) {
	b := bytes.Join(bufs, nil)
	s.sent = append(s.sent, b...)
	return len(b), 0
}

func (s *fakeSocket) RecvFrom(b []byte) (n int, truncated bool, from Sockaddr, e syscall.Errno) {
	if len(s.data) == 0 {
		return 0, false, from, syscall.EAGAIN
	}
	n = copy(b, s.data)
	truncated = n < len(s.data)
	s.data = nil
	return n, truncated, from, 0
}

func (s *fakeSocket) SendTo(b []byte, _ Sockaddr) (int, syscall.Errno) {
	return s.Send([][]byte{b}, 0)
}

func (s *fakeSocket) Close(fd FD) syscall.Errno {
	if !RemoveVirtual(fd, s) {
		return syscall.EBADF
	}
	s.closed = append(s.closed, fd)
	return 0
}

func TestVirtualDescriptors(t *testing.T) {
	a, b := &fakeSocket{}, &fakeSocket{}
	fa, fb := AddVirtual(a), AddVirtual(b)
	if fa == fb || !IsVirtual(fa) || !IsVirtual(fb) || Virtual(fa) != a || Virtual(fb) != b {
		t.Fatalf("descriptors %d and %d of sockets %p and %p: %v, %v", fa, fb, a, b, Virtual(fa), Virtual(fb))
	}
	for _, fd := range []FD{InvalidFD, 0, 3, firstVirtual + 1<<20} {
		if Virtual(fd) != nil {
			t.Errorf("descriptor %d has a virtual socket", fd)
		}
	}
	if IsVirtual(InvalidFD) || IsVirtual(3) {
		t.Error("a descriptor of the machine is virtual")
	}
	if RemoveVirtual(fa, b) {
		t.Error("a descriptor was freed by another socket than its own")
	}
	if e := Close(fa); e != 0 || len(a.closed) != 1 {
		t.Errorf("Close: %v; the socket got %v", e, a.closed)
	}
	if Virtual(fa) != nil {
		t.Error("a closed descriptor still has a socket")
	}
	if _, e := Recv(fa, make([]byte, 1), 0); e != syscall.EBADF {
		t.Errorf("Recv of a closed virtual descriptor: %v, want EBADF", e)
	}
	if _, e := Send(fa, make([]byte, 1), 0); e != syscall.EBADF {
		t.Errorf("Send to a closed virtual descriptor: %v, want EBADF", e)
	}
	if again := AddVirtual(a); again != fa {
		t.Errorf("the next descriptor is %d, want %d, which is free", again, fa)
	}
	Close(fa)
	Close(fb)
}

func TestVirtualTransfers(t *testing.T) {
	s := &fakeSocket{data: []byte("abcdefgh")}
	fd := AddVirtual(s)
	defer Close(fd)
	b := make([]byte, 3)
	if n, e := Recv(fd, b, 0); n != 3 || e != 0 || string(b) != "abc" {
		t.Errorf("Recv = %d, %v: %q", n, e, b)
	}
	var v Iovecs
	first, second := make([]byte, 2), make([]byte, 8)
	v.Add(first)
	v.Add(second)
	if n, e := Recvv(fd, &v); n != 5 || e != 0 || string(first)+string(second[:3]) != "defgh" {
		t.Errorf("Recvv = %d, %v: %q %q", n, e, first, second)
	}
	Send(fd, []byte("x"), 0)
	v = Iovecs{}
	v.Add([]byte("yz"))
	v.Add([]byte("w"))
	Sendv(fd, &v)
	var to Sockaddr
	SendTo(fd, []byte("v"), &to)
	if string(s.sent) != "xyzwv" {
		t.Errorf("sent %q", s.sent)
	}
}

// A batch ends at the first datagram that would block, and has the lengths, and whether a datagram
// was cut, of those before.
func TestVirtualBatch(t *testing.T) {
	s := &fakeSocket{data: []byte("abcdefgh")}
	fd := AddVirtual(s)
	defer Close(fd)
	var b Batch
	bufs := [2][4]byte{}
	for i := range bufs {
		b.Set(i, bufs[i][:], nil)
	}
	if n, e := RecvMMsg(fd, &b, 2); n != 1 || e != 0 {
		t.Fatalf("RecvMMsg = %d, %v, want 1 datagram", n, e)
	}
	if n, truncated, _ := b.Result(0); n != 4 || !truncated || string(bufs[0][:]) != "abcd" {
		t.Errorf("datagram of %d bytes, truncated %v: %q", n, truncated, bufs[0])
	}
	if n, e := RecvMMsg(fd, &b, 2); n != 0 || e != syscall.EAGAIN {
		t.Errorf("RecvMMsg of an empty socket = %d, %v, want EAGAIN", n, e)
	}
	var to Sockaddr
	b.Set(0, []byte("p"), nil)
	b.Set(1, []byte("q"), &to)
	if n, e := SendMMsg(fd, &b, 0, 2); n != 2 || e != 0 || string(s.sent) != "pq" {
		t.Errorf("SendMMsg = %d, %v: %q", n, e, s.sent)
	}
}

func TestVirtualCallsOfCallersDoNotAllocate(t *testing.T) {
	var fds [2]FD
	fds, e := Socketpair(SOCK_STREAM)
	if e != 0 {
		t.Skipf("no socket pair: %v", e)
	}
	defer Close(fds[0])
	defer Close(fds[1])
	if n := testing.AllocsPerRun(100, func() {
		var b [64]byte
		Send(fds[0], b[:], 0)
		Recv(fds[1], b[:], 0)
	}); n != 0 {
		t.Errorf("%v allocations for a message on the caller's stack", n)
	}
}

// lateSocket receives a datagram between any two calls.
type lateSocket struct{ fakeSocket }

func (s *lateSocket) UnreadBytes() (int, bool) {
	n := len(s.data)
	s.data = []byte("a datagram that has just arrived")
	return n, true
}

func (s *lateSocket) RecvFrom(b []byte) (n int, truncated bool, from Sockaddr, e syscall.Errno) {
	s.UnreadBytes()
	return s.fakeSocket.RecvFrom(b)
}

// A datagram that arrives during a call is not cut off.
func TestVirtualDatagramArrivesLate(t *testing.T) {
	s := &lateSocket{}
	fd := AddVirtual(s)
	defer RemoveVirtual(fd, s)
	b := make([]byte, 100)
	if n, truncated, e := RecvFrom(fd, b, new(Sockaddr)); string(b[:n]) != "a datagram that has just arrived" || truncated || e != 0 {
		t.Errorf("RecvFrom = %d, truncated %v, %v: %q", n, truncated, e, b[:n])
	}
}
