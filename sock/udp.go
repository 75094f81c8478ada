package sock

import (
	"net"
	"net/netip"
	"sync"
	"syscall"

	"github.com/pollux-io/pollux/internal/handle"
	"github.com/pollux-io/pollux/internal/sys"
)

// UDPSocket sends and receives datagrams.
type UDPSocket struct {
	Descriptor
	family int
}

// ListenUDP binds a socket to addr. Port 0 takes a free port; [::] serves IPv4 as
// well, unless V6Only is given. The error is a *net.OpError, as that of ListenTCP.
//
// A socket on all addresses answers from the one that the system chooses for the way back,
// as package net's does, and a peer that has connected to another does not hear it: on a
// host with several, listen on each.
func ListenUDP(addr netip.AddrPort, options ...Option) (*UDPSocket, error) {
	m := maker{op: "bind", kind: handle.UDPSocket, options: settle(options)}
	a, err := m.ip(sys.SOCK_DGRAM, addr)
	if err != nil {
		return nil, err
	}
	if err := m.bind(&a); err != nil {
		return nil, err
	}
	return newUDP(m.fd, a.Family()), nil
}

// ConnectUDP makes a socket whose peer is addr: Read and Write are for it alone.
// Nothing is sent, so it is connected at once.
func ConnectUDP(addr netip.AddrPort, options ...Option) (*UDPSocket, error) {
	m := connecting(handle.UDPSocket, options)
	a, err := m.ip(sys.SOCK_DGRAM, addr)
	if err != nil {
		return nil, err
	}
	if err := m.bindLocal(a.Family()); err != nil {
		return nil, err
	}
	if err := m.connect(&a); err != nil {
		return nil, err
	}
	return newUDP(m.fd, a.Family()), nil
}

func newUDP(fd sys.FD, family int) *UDPSocket {
	u := &UDPSocket{family: family}
	u.h.Init(fd, handle.UDPSocket)
	return u
}

// Connect gives the socket a peer, or another one (connect(2)): Write sends there, and what
// others send is dropped. The error is a *net.OpError: for an address that is none of the
// socket's family, ErrClosed, or the system's, such as ENETUNREACH.
func (u *UDPSocket) Connect(addr netip.AddrPort) error {
	var a sys.Sockaddr
	if !addr.IsValid() || !a.SetAddrPort(addr, u.family) {
		return toward(u.failure("connect", badAddr(addr, u.family)), net.UDPAddrFromAddrPort(addr))
	}
	if err := u.connectTo(&a); err != nil {
		return toward(err, net.UDPAddrFromAddrPort(addr))
	}
	return nil
}

// Disconnect takes the peer away: the socket receives from everybody again. The error is a
// *net.OpError: ErrClosed, or the system's.
func (u *UDPSocket) Disconnect() error {
	a := sys.Unspecified()
	return u.connectTo(&a)
}

// toward makes err, a *net.OpError, name the destination, which is not the peer.
func toward(err error, to net.Addr) error {
	err.(*net.OpError).Addr = to
	return err
}

func (u *UDPSocket) connectTo(a *sys.Sockaddr) error {
	return u.use("connect", func(fd sys.FD) error {
		if e := sys.Connect(fd, a); e != 0 && !sys.DisconnectDone(a, e) {
			return u.failure("connect", addressError("connect", e, a))
		}
		return nil
	})
}

// LocalAddr returns the socket's own address, the zero AddrPort once it is closed.
func (u *UDPSocket) LocalAddr() netip.AddrPort { return ipAddr(localAddr(&u.Descriptor)) }

// RemoteAddr returns the peer's address, the zero AddrPort without one.
func (u *UDPSocket) RemoteAddr() netip.AddrPort { return ipAddr(peerAddr(&u.Descriptor)) }

// ReadFrom receives one datagram into b. An empty datagram is 0 bytes and no
// error; a datagram longer than b fills it and gives ErrTruncated.
func (u *UDPSocket) ReadFrom(b []byte) (int, netip.AddrPort, error) {
	var from sys.Sockaddr
	n, err := readFrom(&u.Descriptor, b, &from)
	if err != nil && err != ErrTruncated {
		return 0, netip.AddrPort{}, err
	}
	return n, from.AddrPort(), err
}

// Read is ReadFrom where the sender is known. A connected socket also gets its
// peer's refusals: syscall.ECONNREFUSED here is about an earlier Write, and the
// socket goes on.
func (u *UDPSocket) Read(b []byte) (int, error) {
	var from sys.Sockaddr
	return readFrom(&u.Descriptor, b, &from)
}

func readFrom(d *Descriptor, b []byte, from *sys.Sockaddr) (int, error) {
	fd, ok := d.h.Use()
	if !ok {
		return 0, d.failure("read", net.ErrClosed)
	}
	n, truncated, e := sys.RecvFrom(fd, b, from)
	d.h.Done()
	switch {
	case e == 0 && truncated:
		return n, ErrTruncated
	case e == 0:
		return n, nil
	case sys.WouldBlock(e):
		d.h.Blocked(readable)
		return 0, ErrWouldBlock
	}
	d.h.Blocked(readable) // the next error is news, and so is a datagram
	return 0, d.failed("read", "recvmsg", e)
}

// WriteTo sends b as one datagram to addr: whole, or not at all.
func (u *UDPSocket) WriteTo(b []byte, addr netip.AddrPort) (int, error) {
	var a sys.Sockaddr
	if !addr.IsValid() || !a.SetAddrPort(addr, u.family) {
		return 0, &net.OpError{Op: "write", Net: "udp", Addr: net.UDPAddrFromAddrPort(addr), Err: badAddr(addr, u.family)}
	}
	return writeTo(&u.Descriptor, b, &a)
}

// Write sends b as one datagram to the peer: whole, or not at all.
func (u *UDPSocket) Write(b []byte) (int, error) { return writeTo(&u.Descriptor, b, nil) }

func writeTo(d *Descriptor, b []byte, to *sys.Sockaddr) (int, error) {
	fd, ok := d.h.Use()
	if !ok {
		return 0, sendFailure(d, net.ErrClosed, to)
	}
	var n int
	var e syscall.Errno
	if to == nil {
		n, e = sys.Send(fd, b, 0)
	} else {
		n, e = sys.SendTo(fd, b, to)
	}
	d.h.Done()
	switch {
	case e == 0:
		return n, nil
	case sys.WouldBlock(e):
		d.h.Blocked(writable)
		return 0, ErrWouldBlock
	}
	d.h.Blocked(writable) // the next error is news
	if to == nil {
		return 0, sendFailure(d, sys.CallError("sendto", e), nil)
	}
	return 0, sendFailure(d, addressError("sendto", e, to), to)
}

func sendFailure(d *Descriptor, err error, to *sys.Sockaddr) error {
	err = d.failure("write", err)
	if to == nil {
		return err
	}
	return toward(err, netAddr(d.h.Kind(), to))
}

// A Message is one datagram of a batch.
type Message struct {
	// Data is what to send, or the room for what is received.
	Data []byte
	// N is how many bytes of Data were received.
	N int
	// Addr is the sender, or the receiver; the zero AddrPort sends to the peer of a
	// connected socket.
	Addr netip.AddrPort
	// Truncated says that the datagram was longer than Data.
	Truncated bool
}

var batches = sync.Pool{New: func() any { return new(sys.Batch) }}

// ReadBatch receives as many datagrams as there are, up to len(ms), in one system
// call for each 64 (recvmmsg; one for each where the system has none). It returns
// how many. ErrWouldBlock comes with none.
//
// Fewer than len(ms) do not mean that there are no more: an error that comes in meanwhile,
// such as a peer's refusal, ends the call early, and is told by the next one or not at all.
// With an Edge registration go on until ErrWouldBlock, past other errors too, which are
// about datagrams sent before.
func (u *UDPSocket) ReadBatch(ms []Message) (int, error) {
	fd, ok := u.h.Use()
	if !ok {
		return 0, u.failure("read", net.ErrClosed)
	}
	b := batches.Get().(*sys.Batch)
	n, e := readBatch(fd, b, ms)
	batches.Put(b)
	u.h.Done()
	switch {
	case e == 0 || n > 0:
		if n < len(ms) {
			u.h.Blocked(readable)
		}
		return n, nil
	case sys.WouldBlock(e):
		u.h.Blocked(readable)
		return 0, ErrWouldBlock
	}
	u.h.Blocked(readable) // as in readFrom
	return 0, u.failed("read", "recvmmsg", e)
}

func readBatch(fd sys.FD, b *sys.Batch, ms []Message) (total int, e syscall.Errno) {
	for total < len(ms) {
		part := ms[total:min(len(ms), total+sys.MaxBatch)]
		for i := range part {
			b.Set(i, part[i].Data, nil)
		}
		n, e := sys.RecvMMsg(fd, b, len(part))
		for i := range n {
			length, truncated, from := b.Result(i)
			part[i].N, part[i].Truncated, part[i].Addr = length, truncated, from.AddrPort()
		}
		b.Clear(len(part))
		total += n
		if e != 0 || n < len(part) {
			return total, e
		}
	}
	return total, 0
}

// WriteBatch sends the datagrams in turn, in one system call for each 64
// (sendmmsg; one for each where the system has none). It returns how many were
// sent; fewer than len(ms) come with the error that stopped the next, such as
// ErrWouldBlock.
func (u *UDPSocket) WriteBatch(ms []Message) (int, error) {
	fd, ok := u.h.Use()
	if !ok {
		return 0, u.failure("write", net.ErrClosed)
	}
	b := batches.Get().(*sys.Batch)
	n, e, bad := u.writeBatch(fd, b, ms)
	batches.Put(b)
	u.h.Done()
	switch {
	case bad:
		return n, &net.OpError{Op: "write", Net: "udp", Addr: net.UDPAddrFromAddrPort(ms[n].Addr), Err: badAddr(ms[n].Addr, u.family)}
	case e == 0:
		return n, nil
	case sys.WouldBlock(e):
		u.h.Blocked(writable)
		return n, ErrWouldBlock
	}
	u.h.Blocked(writable) // as in writeTo
	to := ms[n].Addr
	if !to.IsValid() {
		return n, u.failed("write", "sendmmsg", e)
	}
	var a sys.Sockaddr
	a.SetAddrPort(to, u.family)
	return n, toward(u.failure("write", addressError("sendmmsg", e, &a)), net.UDPAddrFromAddrPort(to))
}

// writeBatch returns bad if it stopped at an address that cannot be sent to.
func (u *UDPSocket) writeBatch(fd sys.FD, b *sys.Batch, ms []Message) (total int, e syscall.Errno, bad bool) {
	for total < len(ms) {
		part := ms[total:min(len(ms), total+sys.MaxBatch)]
		ready := 0
		for ready < len(part) {
			var to *sys.Sockaddr
			if m := &part[ready]; m.Addr.IsValid() {
				to = new(sys.Sockaddr)
				if !to.SetAddrPort(m.Addr, u.family) {
					break
				}
			}
			b.Set(ready, part[ready].Data, to)
			ready++
		}
		bad = ready < len(part)
		n := 0
		for n < ready && e == 0 {
			var k int
			k, e = sys.SendMMsg(fd, b, n, ready)
			n += k
		}
		b.Clear(ready)
		total += n
		if e != 0 || bad {
			return total, e, bad && e == 0
		}
	}
	return total, 0, false
}
