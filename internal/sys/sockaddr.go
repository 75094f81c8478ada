//go:build unix || windows

package sys

import (
	"bytes"
	"encoding/binary"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"unsafe"
)

// Sockaddr is a socket address in the kernel's form.
type Sockaddr struct {
	raw rawUnix
	Len uint32
}

// Family returns the address family, 0 for an empty address.
func (a *Sockaddr) Family() int {
	if a.Len == 0 {
		return 0
	}
	return int(a.raw.Family)
}

// FamilyOf returns the address family for ip.
func FamilyOf(ip netip.Addr) int {
	if ip.Is4() {
		return AF_INET
	}
	return AF_INET6
}

// SetAddrPort stores ap in the form for a socket of the family: for an IPv6 socket an IPv4
// address is mapped. It returns false if there is no such form, or the zone is not an
// interface.
func (a *Sockaddr) SetAddrPort(ap netip.AddrPort, family int) bool {
	ip := ap.Addr()
	*a = Sockaddr{}
	switch family {
	case AF_INET:
		ip = ip.Unmap()
		if !ip.Is4() {
			return false
		}
		p := (*rawInet4)(unsafe.Pointer(&a.raw))
		setFamily(&a.raw, AF_INET, sizeInet4)
		p.Addr = ip.As4()
		putPort(&p.Port, ap.Port())
		a.Len = sizeInet4
	case AF_INET6:
		p := (*rawInet6)(unsafe.Pointer(&a.raw))
		setFamily(&a.raw, AF_INET6, sizeInet6)
		p.Addr = ip.As16()
		putPort(&p.Port, ap.Port())
		if z := ip.Zone(); z != "" {
			id, ok := zoneID(z)
			if !ok {
				return false
			}
			p.Scope_id = id
		}
		a.Len = sizeInet6
	default:
		return false
	}
	return true
}

// AddrPort returns the IP address and port. An IPv4-mapped address is returned as IPv4, a
// zone as the interface index.
func (a *Sockaddr) AddrPort() netip.AddrPort {
	if a.Len == 0 {
		return netip.AddrPort{}
	}
	return addrPort(&a.raw)
}

// addrPort reads only the bytes of raw that an address of its family has.
func addrPort(raw *rawUnix) netip.AddrPort {
	switch raw.Family {
	case AF_INET:
		p := (*rawInet4)(unsafe.Pointer(raw))
		return netip.AddrPortFrom(netip.AddrFrom4(p.Addr), port(&p.Port))
	case AF_INET6:
		p := (*rawInet6)(unsafe.Pointer(raw))
		ip := netip.AddrFrom16(p.Addr).Unmap()
		if p.Scope_id != 0 && ip.Is6() {
			ip = ip.WithZone(strconv.FormatUint(uint64(p.Scope_id), 10))
		}
		return netip.AddrPortFrom(ip, port(&p.Port))
	}
	return netip.AddrPort{}
}

// Unspecified returns the address with which connect(2) removes a datagram socket's peer.
func Unspecified() Sockaddr {
	var a Sockaddr
	setFamily(&a.raw, AF_UNSPEC, sizeInet4)
	a.Len = sizeInet4
	return a
}

func putPort(p *uint16, v uint16) { binary.BigEndian.PutUint16((*[2]byte)(unsafe.Pointer(p))[:], v) }

func port(p *uint16) uint16 { return binary.BigEndian.Uint16((*[2]byte)(unsafe.Pointer(p))[:]) }

func zoneID(zone string) (uint32, bool) {
	if n, err := strconv.ParseUint(zone, 10, 32); err == nil {
		return uint32(n), true
	}
	ifi, err := net.InterfaceByName(zone)
	if err != nil {
		return 0, false
	}
	return uint32(ifi.Index), true
}

const (
	unixPathOffset = unsafe.Offsetof(rawUnix{}.Path)
	unixPathSize   = SockaddrSize - int(unixPathOffset)
)

// MaxUnixName is the maximum length of the name of a Unix socket, in bytes: a path, or @
// and an abstract name.
const MaxUnixName = unixPathSize - terminator

// A path that begins with @ is written with dotSlash before it, to distinguish it from an
// abstract name.
const dotSlash = "./"

// IsAbstractUnix reports whether name is an abstract name of Linux (unix(7)): an @ and any
// bytes, not a path.
func IsAbstractUnix(name string) bool { return abstractNames && name != "" && name[0] == '@' }

// SetUnix stores the name of a Unix socket. A leading @ stands for the zero byte of an
// abstract name of Linux (unix(7)), which may have any bytes. It returns false if the name
// is too long, or is a path with a zero byte.
func (a *Sockaddr) SetUnix(name string) bool {
	*a = Sockaddr{}
	abstract := IsAbstractUnix(name)
	if !abstract {
		if strings.IndexByte(name, 0) >= 0 {
			return false
		}
		if strings.HasPrefix(name, dotSlash) && IsAbstractUnix(name[len(dotSlash):]) {
			name = name[len(dotSlash):]
		}
	}
	if len(name) > MaxUnixName {
		return false
	}
	path := (*[unixPathSize]byte)(unsafe.Pointer(&a.raw.Path))
	n := copy(path[:], name)
	switch {
	case abstract:
		path[0] = 0
	case n > 0 && n < unixPathSize:
		n++ // the terminating zero
	}
	n += int(unixPathOffset)
	setFamily(&a.raw, AF_UNIX, n)
	a.Len = uint32(n)
	return true
}

// UnixPath returns the path that bind(2) creates for the name, or "" if it creates none.
func (a *Sockaddr) UnixPath() string {
	if abstractNames && a.raw.Path[0] == 0 {
		return ""
	}
	return a.Unix()
}

// Unix returns the name of a Unix socket in the form of SetUnix, or "" for an unnamed one.
func (a *Sockaddr) Unix() string {
	n := int(a.Len) - int(unixPathOffset)
	if a.Family() != AF_UNIX || n <= 0 {
		return ""
	}
	// The length of a path without a terminating zero may include one (unix(7), bugs).
	path := (*[unixPathSize]byte)(unsafe.Pointer(&a.raw.Path))[:min(n, unixPathSize)]
	if abstractNames && path[0] == 0 {
		return "@" + string(path[1:])
	}
	if i := bytes.IndexByte(path, 0); i >= 0 {
		path = path[:i]
	}
	if IsAbstractUnix(string(path)) {
		return dotSlash + string(path)
	}
	return string(path)
}
