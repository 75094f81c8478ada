package sock

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"syscall"

	"github.com/pollux-io/pollux/internal/handle"
	"github.com/pollux-io/pollux/internal/sys"
)

var (
	errUnsupported = errors.ErrUnsupported
	errNotNew      = errors.New("the Stream has a socket already, or had one; give a new one")
)

// badAddr says why ap is none for a socket of the family.
func badAddr(ap netip.AddrPort, family int) error {
	switch {
	case !ap.IsValid():
		return errors.New("an address is needed, not the zero AddrPort")
	case family == sys.AF_INET && !ap.Addr().Unmap().Is4():
		return fmt.Errorf("%v is an address of IPv6, and the socket one of IPv4", ap)
	case ap.Addr().Zone() != "":
		return fmt.Errorf("%v: there is no network interface %q", ap, ap.Addr().Zone())
	}
	return fmt.Errorf("%v is no address for this socket", ap)
}

// badName returns the error for a name that no Unix socket can have.
func badName(name string) error {
	switch {
	case name == "":
		return errors.New("a name is needed, not an empty one")
	case len(name) > sys.MaxUnixName:
		return fmt.Errorf("a name of %d bytes is too long for a Unix socket, which takes %d", len(name), sys.MaxUnixName)
	}
	return errors.New("the path has a zero byte")
}

// A maker makes one socket; its errors say at which address.
type maker struct {
	op      string
	kind    handle.Kind
	options settings
	addr    net.Addr // for errors
	fd      sys.FD
	path    *boundPath // what bind has made, to be removed if the rest fails
}

func connecting(kind handle.Kind, options []Option) maker {
	return maker{op: "connect", kind: kind, options: settle(options)}
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

// ip begins a socket of IP at or to ap.
func (m *maker) ip(typ int, ap netip.AddrPort) (sys.Sockaddr, error) {
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

// unix begins a Unix socket at or to name.
func (m *maker) unix(typ int, name string) (sys.Sockaddr, error) {
	m.fd = sys.InvalidFD
	m.addr = &net.UnixAddr{Name: name, Net: m.kind.Network()}
	var a sys.Sockaddr
	if name == "" || !a.SetUnix(name) {
		return a, m.fail(badName(name))
	}
	return a, m.open(sys.AF_UNIX, typ)
}

func (m *maker) open(family, typ int) error {
	if err := m.options.suit(m.op, m.kind); err != nil {
		return m.fail(err)
	}
	fd, e := sys.Socket(family, typ, 0)
	if e != 0 {
		return m.call("socket", e)
	}
	m.fd = fd
	if err := m.options.before(fd, family, m.kind); err != nil {
		return m.fail(err)
	}
	return nil
}

// bindLocal gives a socket that will connect the local address it was promised.
func (m *maker) bindLocal(family int) error {
	var a sys.Sockaddr
	switch o := &m.options; {
	case o.local.IsValid():
		if !a.SetAddrPort(o.local, family) {
			return m.fail(fmt.Errorf("LocalAddr: %w", badAddr(o.local, family)))
		}
	case o.localName != "":
		if !a.SetUnix(o.localName) {
			return m.fail(fmt.Errorf("LocalName: %w", badName(o.localName)))
		}
	default:
		return nil
	}
	return m.bind(&a)
}

func (m *maker) bind(a *sys.Sockaddr) error {
	if e := sys.Bind(m.fd, a); e != 0 {
		return m.fail(addressError("bind", e, a))
	}
	m.path = madeByBind(a.UnixPath())
	return nil
}

// bind and listen on a.
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

// initListener makes d the owner of the socket, which listens.
func (m *maker) initListener(d *Descriptor) {
	d.h.Init(m.fd, m.kind)
	if m.options.control != nil {
		d.h.Share() // the function may have made a duplicate
	}
}

// connect begins to connect to a.
func (m *maker) connect(a *sys.Sockaddr) error {
	if e := sys.Connect(m.fd, a); e != 0 && !sys.InProgress(e) {
		return m.fail(addressError("connect", e, a))
	}
	return nil
}
