package simnet

import (
	"net/netip"
	"syscall"

	"github.com/pollux-io/pollux/internal/sys"
)

// A Watcher gets to know what happens to a socket.
type Watcher interface {
	// Changed is called with the network's lock held when a socket may have become ready: there are
	// more bytes, datagrams or connections to take, space to write into, or its peer has closed or
	// reset it. It must not call methods of this package except those ending in Locked.
	Changed(s *Socket)
}

// State is what a socket is ready for.
type State uint8

const (
	Readable     State = 1 << iota // a receive, or an accept, would not block
	Writable                       // a send would not block, or connecting has ended
	ReadClosed                     // the peer has sent FIN, or the connection has failed
	Failed                         // both directions have ended, or there is an error
	Urgent                         // there is a byte of urgent data
	PendingError                   // SocketError has an error to return
)

// A Socket is an open socket of a Host.
type Socket struct {
	host        *Host
	family, typ int
	descriptors int    // that are open
	number      uint64 // in the order of their making
	closed      bool
	lost        bool // its host has crashed, or the network is closed
	protocol    protocol
	options     options
	local       address // zero: not bound
	err         syscall.Errno
	flow        flow // to the peer
	faulty      faulty

	watcher Watcher
	waiters []*Actor // that are in a blocking call
}

var _ sys.VirtualSocket = (*Socket)(nil)

// A protocol is what the kinds of sockets differ in. Its methods are those of sys.VirtualSocket; they
// are called with the network's lock held, on an open socket.
type protocol interface {
	bindLocked(a address) syscall.Errno
	listenLocked(backlog int) syscall.Errno
	acceptLocked() (*Socket, syscall.Errno)
	connectLocked(to address) syscall.Errno
	shutdownLocked(how int) syscall.Errno
	recvLocked(bufs [][]byte, flags int) (int, syscall.Errno)
	sendLocked(bufs [][]byte, flags int) (int, syscall.Errno)
	recvFromLocked(b []byte) (n int, truncated bool, from address, e syscall.Errno)
	sendToLocked(b []byte, to address) (int, syscall.Errno)
	peerLocked() (address, syscall.Errno)
	membershipLocked(group netip.Addr, ifindex int, join bool) syscall.Errno
	unreadLocked() int
	unackedLocked() int
	stateLocked() State
	// optionLocked is called after an option was set.
	optionLocked(level, option int)
	// closeLocked is called when the last descriptor is closed, or the host crashes.
	closeLocked()
	// receiveLocked takes a packet for the socket, which may have been closed meanwhile. It reports
	// whether it keeps the packet.
	receiveLocked(p *packet) (kept bool)
}

// SocketOf returns the Socket that v is.
func SocketOf(v sys.VirtualSocket) (*Socket, bool) {
	s, ok := v.(*Socket)
	return s, ok
}

// Host returns the host of s.
func (s *Socket) Host() *Host { return s.host }

// SetWatcher sets whom changes of the socket are reported to; nil: no one. The caller must look at
// State afterwards: what happened before is not reported.
func (s *Socket) SetWatcher(w Watcher) {
	s.host.n.mu.Lock()
	defer s.host.n.mu.Unlock()
	s.watcher = w
}

// State returns what the socket is ready for.
func (s *Socket) State() State {
	s.host.n.mu.Lock()
	defer s.host.n.mu.Unlock()
	return s.StateLocked()
}

// StateLocked is State for a Watcher.
func (s *Socket) StateLocked() State {
	switch {
	case s.closed:
		return 0
	case s.lost:
		return Readable | Writable | ReadClosed | Failed
	}
	return s.protocol.stateLocked()
}

// changedLocked reports that the socket may have become ready.
func (s *Socket) changedLocked() {
	if s.watcher != nil {
		s.watcher.Changed(s)
	}
	for _, a := range s.waiters {
		s.host.n.wakeLocked(a)
	}
}

// lock locks the network and returns an error if the socket cannot be used. The caller must unlock it.
func (s *Socket) lock() syscall.Errno {
	s.host.n.mu.Lock()
	return s.usableLocked()
}

func (s *Socket) usableLocked() syscall.Errno {
	switch {
	case s.closed:
		return syscall.EBADF
	case s.lost:
		return syscall.ENETDOWN
	}
	return 0
}

func (s *Socket) unlock() { s.host.n.mu.Unlock() }

// Bind implements sys.VirtualSocket, as the methods below do.
func (s *Socket) Bind(a sys.Sockaddr) syscall.Errno {
	defer s.unlock()
	if e := s.lock(); e != 0 {
		return e
	}
	to, e := s.addressOf(&a)
	if e != 0 {
		return e
	}
	return s.protocol.bindLocked(to)
}

func (s *Socket) Listen(backlog int) syscall.Errno {
	defer s.unlock()
	if e := s.lock(); e != 0 {
		return e
	}
	return s.protocol.listenLocked(backlog)
}

func (s *Socket) Accept() (sys.FD, sys.Sockaddr, syscall.Errno) {
	defer s.unlock()
	if e := s.lock(); e != 0 {
		return sys.InvalidFD, sys.Sockaddr{}, e
	}
	conn, fd, e := s.acceptLocked()
	if e != 0 {
		return sys.InvalidFD, sys.Sockaddr{}, e
	}
	return fd, conn.sockaddr(conn.remoteLocked()), 0 // also of a connection that was reset meanwhile
}

// acceptLocked takes a connection and gives it a descriptor.
func (s *Socket) acceptLocked() (*Socket, sys.FD, syscall.Errno) {
	if e := s.host.mayOpenLocked(); e != 0 {
		return nil, sys.InvalidFD, e
	}
	if s.wouldBlockLocked(Readable) {
		return nil, sys.InvalidFD, syscall.EAGAIN
	}
	conn, e := s.protocol.acceptLocked()
	if e != 0 {
		return nil, sys.InvalidFD, e
	}
	return conn, conn.openLocked(), 0
}

func (s *Socket) Connect(to sys.Sockaddr) syscall.Errno {
	defer s.unlock()
	if e := s.lock(); e != 0 {
		return e
	}
	a, e := s.addressOf(&to)
	if e != 0 {
		return e
	}
	return s.protocol.connectLocked(a)
}

func (s *Socket) Shutdown(how int) syscall.Errno {
	defer s.unlock()
	switch e := s.lock(); {
	case e != 0:
		return e
	case how != sys.SHUT_RD && how != sys.SHUT_WR && how != sys.SHUT_RDWR:
		return syscall.EINVAL
	}
	return s.protocol.shutdownLocked(how)
}

func (s *Socket) Recv(bufs [][]byte, flags int) (int, syscall.Errno) {
	defer s.unlock()
	if e := s.lock(); e != 0 {
		return 0, e
	}
	bufs, e := s.recvFaultsLocked(bufs, flags)
	if e != 0 {
		return 0, e
	}
	return s.protocol.recvLocked(bufs, flags)
}

func (s *Socket) Send(bufs [][]byte, flags int) (int, syscall.Errno) {
	defer s.unlock()
	if e := s.lock(); e != 0 {
		return 0, e
	}
	bufs, e := s.sendFaultsLocked(bufs, flags)
	if e != 0 {
		return 0, e
	}
	return s.protocol.sendLocked(bufs, flags)
}

func (s *Socket) RecvFrom(b []byte) (n int, truncated bool, from sys.Sockaddr, e syscall.Errno) {
	defer s.unlock()
	if e := s.lock(); e != 0 {
		return 0, false, from, e
	}
	if s.wouldBlockLocked(Readable) {
		return 0, false, from, syscall.EAGAIN
	}
	n, truncated, a, e := s.protocol.recvFromLocked(b)
	if e != 0 {
		return n, truncated, from, e
	}
	return n, truncated, s.sockaddr(a), 0
}

func (s *Socket) SendTo(b []byte, to sys.Sockaddr) (int, syscall.Errno) {
	defer s.unlock()
	if e := s.lock(); e != 0 {
		return 0, e
	}
	a, e := s.addressOf(&to)
	switch {
	case e != 0:
		return 0, e
	case s.wouldBlockLocked(Writable):
		return 0, syscall.EAGAIN
	}
	return s.protocol.sendToLocked(b, a)
}

func (s *Socket) LocalAddr() (sys.Sockaddr, syscall.Errno) {
	defer s.unlock()
	if e := s.lock(); e == syscall.EBADF {
		return sys.Sockaddr{}, e
	}
	return s.sockaddr(s.local), 0
}

func (s *Socket) PeerAddr() (sys.Sockaddr, syscall.Errno) {
	defer s.unlock()
	if e := s.lock(); e != 0 {
		return sys.Sockaddr{}, e
	}
	a, e := s.protocol.peerLocked()
	if e != 0 {
		return sys.Sockaddr{}, e
	}
	return s.sockaddr(a), 0
}

func (s *Socket) SetMembership(group netip.Addr, ifindex int, join bool) syscall.Errno {
	defer s.unlock()
	if e := s.lock(); e != 0 {
		return e
	}
	return s.protocol.membershipLocked(group, ifindex, join)
}

func (s *Socket) SocketError() syscall.Errno {
	defer s.unlock()
	if e := s.lock(); e != 0 {
		return e
	}
	return s.takeErrorLocked()
}

// takeErrorLocked returns and clears the pending error.
func (s *Socket) takeErrorLocked() syscall.Errno {
	e := s.err
	s.err = 0
	return e
}

func (s *Socket) UnreadBytes() (n int, known bool) {
	defer s.unlock()
	if s.lock() != 0 {
		return 0, false
	}
	return s.protocol.unreadLocked(), true
}

func (s *Socket) UnackedBytes() (n int, known bool) {
	defer s.unlock()
	if s.lock() != 0 {
		return 0, false
	}
	return s.protocol.unackedLocked(), true
}

func (s *Socket) Dup() (sys.FD, syscall.Errno) {
	defer s.unlock()
	if e := s.lock(); e != 0 {
		return sys.InvalidFD, e
	}
	if e := s.host.mayOpenLocked(); e != 0 {
		return sys.InvalidFD, e
	}
	return s.openLocked(), 0
}

// openLocked returns a new descriptor of s.
func (s *Socket) openLocked() sys.FD {
	s.descriptors++
	s.host.descriptors++
	return sys.AddVirtual(s)
}

func (s *Socket) Close(fd sys.FD) syscall.Errno {
	defer s.unlock()
	s.lock()
	if !sys.RemoveVirtual(fd, s) {
		return syscall.EBADF
	}
	s.descriptors--
	s.host.descriptors--
	if s.descriptors == 0 {
		s.closeLocked()
	}
	return 0
}

// closeLocked closes the socket.
func (s *Socket) closeLocked() {
	s.closed = true
	if !s.lost {
		s.protocol.closeLocked()
		s.host.unbindLocked(s)
	}
	s.changedLocked() // blocking calls return
}

// loseLocked ends the socket without a packet. Its descriptors stay open until they are closed.
func (s *Socket) loseLocked() {
	s.lost = true
	if t, ok := s.protocol.(*streamSocket); ok {
		t.loseLocked()
	}
	s.host.unbindLocked(s)
	s.changedLocked()
}
