package sock

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"syscall"

	"github.com/pollux-io/pollux/internal/handle"
	"github.com/pollux-io/pollux/internal/stream"
	"github.com/pollux-io/pollux/internal/sys"
)

var (
	errUnsupported = errors.ErrUnsupported
	errNotNew      = bad("the Stream is nil, or has or had a socket; use a new Stream")
)

// bad returns an ErrBadArgument.
func bad(format string, args ...any) error {
	return fmt.Errorf("%w: "+format, append([]any{ErrBadArgument}, args...)...)
}

// badAddr returns the error for ap, which is invalid for a socket of the family. A zero socket has
// none.
func badAddr(ap netip.AddrPort, family int) error {
	switch {
	case family == 0:
		return net.ErrClosed
	case !ap.IsValid():
		return bad("the address is the zero AddrPort")
	case family == sys.AF_INET && !ap.Addr().Unmap().Is4():
		return bad("%v is an IPv6 address, the socket is IPv4", ap)
	case ap.Addr().Zone() != "":
		return fmt.Errorf("%v: there is no network interface %q", ap, ap.Addr().Zone())
	}
	return bad("%v is not a valid address for this socket", ap)
}

// badName returns the error for an invalid name of a Unix socket.
func badName(name string) error {
	switch {
	case name == "":
		return bad("the name is empty")
	case len(name) > sys.MaxUnixName:
		return bad("a name of %d bytes is too long for a Unix socket; the limit is %d", len(name), sys.MaxUnixName)
	}
	return bad("the path contains a zero byte")
}

// A maker creates one socket. Its errors contain the address.
type maker struct {
	op      string
	kind    handle.Kind
	options settings
	addr    net.Addr // for errors
	fd      sys.FD
	path    *boundPath // created by bind; removed if a later step fails

	checkOnly bool              // validate the arguments, and make no socket
	accepting *stream.Accepting // what a listener must set on its connections; otherwise nil
}

func connectMaker(kind handle.Kind, options []Option) maker {
	return maker{op: "connect", kind: kind, options: applyOptions(options)}
}

// streamMaker is connectMaker for s.
func streamMaker(kind handle.Kind, s *Stream, options []Option) maker {
	m := connectMaker(kind, options)
	m.checkOnly = s != nil && stream.IsChecking(&s.connecting)
	return m
}

func (m *maker) fail(err error) error {
	m.path.remove()
	if m.fd != sys.InvalidFD {
		sys.Close(m.fd)
	}
	return &net.OpError{Op: m.op, Net: m.kind.Network(), Addr: m.addr, Err: err}
}

func (m *maker) call(name string, e syscall.Errno) error {
	return m.fail(sys.CallError(name, e))
}

// openIP creates an IP socket that will be bound or connected to ap.
func (m *maker) openIP(typ int, ap netip.AddrPort) (sys.Sockaddr, error) {
	m.fd = sys.InvalidFD
	if m.kind == handle.UDPSocket {
		m.addr = net.UDPAddrFromAddrPort(ap)
	} else {
		m.addr = net.TCPAddrFromAddrPort(ap)
	}
	var a sys.Sockaddr
	family := sys.FamilyOf(ap.Addr())
	if !ap.IsValid() || !a.SetAddrPort(ap, family) {
		return a, m.fail(badAddr(ap, family))
	}
	return a, m.open(family, typ)
}

// openUnix creates a Unix socket that will be bound or connected to name.
func (m *maker) openUnix(typ int, name string) (sys.Sockaddr, error) {
	m.fd = sys.InvalidFD
	m.addr = &net.UnixAddr{Name: name, Net: m.kind.Network()}
	var a sys.Sockaddr
	if name == "" || !a.SetUnix(name) {
		return a, m.fail(badName(name))
	}
	return a, m.open(sys.AF_UNIX, typ)
}

func (m *maker) open(family, typ int) error {
	if err := m.options.validate(m.op, m.kind); err != nil {
		return m.fail(err)
	}
	if m.checkOnly {
		return nil
	}
	var fd sys.FD
	var e syscall.Errno
	if k := m.options.kernel; k != nil {
		fd, e = k.Socket(family, typ)
	} else {
		fd, e = sys.Socket(family, typ, 0)
	}
	if e != 0 {
		return m.call("socket", e)
	}
	m.fd = fd
	if err := m.options.apply(fd, family, m.kind, m.accepting); err != nil {
		return m.fail(err)
	}
	return nil
}

// bindLocal binds a socket that will connect to the address of LocalAddr or LocalUnixAddr, if
// there is one.
func (m *maker) bindLocal(family int) error {
	var a sys.Sockaddr
	switch o := &m.options; {
	case o.local.IsValid():
		if !a.SetAddrPort(o.local, family) {
			return m.fail(fmt.Errorf("LocalAddr: %w", badAddr(o.local, family)))
		}
	case o.localName != "":
		if !a.SetUnix(o.localName) {
			return m.fail(fmt.Errorf("LocalUnixAddr: %w", badName(o.localName)))
		}
	default:
		return nil
	}
	if m.checkOnly {
		return nil
	}
	return m.bind(&a)
}

func (m *maker) bind(a *sys.Sockaddr) error {
	if e := sys.Bind(m.fd, a); e != 0 {
		return m.fail(sys.AddressError("bind", e, a))
	}
	if !sys.IsVirtual(m.fd) {
		m.path = createdByBind(a.UnixPath())
	}
	return nil
}

// listen binds the socket to a and listens.
func (m *maker) listen(a *sys.Sockaddr) error {
	if err := m.bind(a); err != nil {
		return err
	}
	backlog := m.options.backlog
	if backlog == 0 {
		backlog = sys.MaxBacklog
	}
	if e := sys.Listen(m.fd, backlog); e != 0 {
		return m.call("listen", e)
	}
	return nil
}

// initListener makes d own the listening socket.
func (m *maker) initListener(d *Descriptor) {
	d.h().Init(m.fd, m.kind)
	if len(m.options.controls) > 0 {
		d.h().Share() // a control may have duplicated the descriptor
	}
}

// connect starts connecting to a.
func (m *maker) connect(a *sys.Sockaddr) error {
	if e := sys.Connect(m.fd, a); e != 0 && !sys.InProgress(e) {
		return m.fail(sys.AddressError("connect", e, a))
	}
	return nil
}

// connectStream starts connecting to a, unless s is only to be prepared, and makes s own the socket.
// s must be new.
func (m *maker) connectStream(s *Stream, a *sys.Sockaddr) error {
	if m.checkOnly {
		return nil
	}
	if s == nil || !s.h().IsNew() {
		return m.fail(errNotNew)
	}
	prepared := stream.IsPreparing(&s.connecting)
	if !prepared {
		if err := m.connect(a); err != nil {
			return err
		}
	}
	if prepared || m.kind == handle.TCPStream {
		attempt := stream.NewAttempt(a)
		if m.path != nil {
			attempt.Undo = m.path.remove
		}
		stream.SetAttempt(&s.connecting, attempt)
	}
	s.h().Init(m.fd, m.kind)
	return nil
}

// acceptInto takes a connection off a listener's queue into s, which must be new.
func acceptInto(d *Descriptor, s *Stream, kind handle.Kind, accepting *stream.Accepting) (from sys.Sockaddr, err error) {
	if s == nil || !s.h().IsNew() {
		return from, d.opError("accept", errNotNew)
	}
	fd, from, err := stream.Accept(d.h())
	if err != nil {
		return from, err
	}
	stream.OptionsIn(accepting).Apply(fd)
	s.h().Init(fd, kind)
	return from, nil
}
