package sock

import (
	"math"
	"net/netip"
	"syscall"

	"github.com/pollux-io/pollux/internal/selector"
	"github.com/pollux-io/pollux/internal/sys"
)

const (
	readable = selector.Readable
	writable = selector.Writable
	priority = selector.Priority
)

func toInt(on bool) int {
	if on {
		return 1
	}
	return 0
}

// setRange is set for an option with a range: systems interpret some values outside the
// range as other values.
func (d *Descriptor) setRange(name string, level, option, value, least, most int) error {
	if err := inRange(name, value, least, most); err != nil {
		return d.opError("set "+name, err)
	}
	return d.set(name, level, option, value)
}

func inRange(name string, value, least, most int) error {
	if value < least || value > most {
		return bad("%s is %d; the range is %d to %d", name, value, least, most)
	}
	return nil
}

func (d *Descriptor) set(name string, level, option, value int) error {
	return d.withFD("set "+name, func(fd sys.FD) error {
		if e := sys.SetInt(fd, level, option, value); e != 0 {
			return d.callError("set "+name, "setsockopt", e)
		}
		return nil
	})
}

func (d *Descriptor) get(name string, level, option int) (v int, err error) {
	err = d.withFD("get "+name, func(fd sys.FD) error {
		var e syscall.Errno
		if v, e = sys.GetInt(fd, level, option); e != 0 {
			return d.callError("get "+name, "getsockopt", e)
		}
		return nil
	})
	return v, err
}

// setByFamily sets the option of the socket's address family, and on a dual-stack IPv6 socket
// also that of IPv4.
func (d *Descriptor) setByFamily(name string, v4, v6, value, least, most int) error {
	level, option, err := d.familyOption(v4, v6)
	if err != nil {
		return err
	}
	if err := d.setRange(name, level, option, value, least, most); err != nil || level == sys.IPPROTO_IP {
		return err
	}
	return d.setMapped(name, func(fd sys.FD) syscall.Errno { return sys.SetInt(fd, sys.IPPROTO_IP, v4, value) })
}

// setMapped sets an option for the IPv4 peers of an IPv6 socket, unless it is IPv6 only.
func (d *Descriptor) setMapped(name string, set func(fd sys.FD) syscall.Errno) error {
	return d.withFD("set "+name, func(fd sys.FD) error {
		if only, e := sys.GetInt(fd, sys.IPPROTO_IPV6, sys.IPV6_V6ONLY); e != 0 || only != 0 {
			return nil
		}
		if e := set(fd); e != 0 && sys.HasMappedOptions {
			return d.callError("set "+name, "setsockopt", e)
		}
		return nil
	})
}

func (d *Descriptor) familyOption(v4, v6 int) (level, option int, err error) {
	a, err := localAddr(d)
	if err != nil {
		return 0, 0, err
	}
	if a.Family() == sys.AF_INET6 {
		return sys.IPPROTO_IPV6, v6, nil
	}
	return sys.IPPROTO_IP, v4, nil
}

// SetReadBuffer sets the size of the kernel's receive buffer (SO_RCVBUF, socket(7)) in bytes, from
// 1 to 2^31-1; the system has limits of its own. For TCP see also the option ReadBuffer, which can
// enlarge the window. On a descriptor that is not a socket the error is ENOTSOCK.
func (d *Descriptor) SetReadBuffer(bytes int) error {
	return d.setRange("SO_RCVBUF", sys.SOL_SOCKET, sys.SO_RCVBUF, bytes, 1, math.MaxInt32)
}

// ReadBuffer returns the size of the kernel's receive buffer in bytes. Linux returns twice the
// size that was set (socket(7)).
func (d *Descriptor) ReadBuffer() (int, error) {
	return d.get("SO_RCVBUF", sys.SOL_SOCKET, sys.SO_RCVBUF)
}

// SetWriteBuffer sets the size of the kernel's send buffer (SO_SNDBUF, socket(7)) in bytes, from 1
// to 2^31-1; the system has limits of its own. On a descriptor that is not a socket the error is
// ENOTSOCK.
func (d *Descriptor) SetWriteBuffer(bytes int) error {
	return d.setRange("SO_SNDBUF", sys.SOL_SOCKET, sys.SO_SNDBUF, bytes, 1, math.MaxInt32)
}

// WriteBuffer returns the size of the kernel's send buffer in bytes. Linux returns twice the size
// that was set (socket(7)).
func (d *Descriptor) WriteBuffer() (int, error) {
	return d.get("SO_SNDBUF", sys.SOL_SOCKET, sys.SO_SNDBUF)
}

// SetTTL sets how many hops a sent packet may take, from 1 to 255 (IP_TTL, or
// IPV6_UNICAST_HOPS; both on a dual-stack socket).
func (s *TCPStream) SetTTL(hops int) error { return setTTL(&s.Descriptor, hops) }

// TTL returns how many hops a sent packet may take.
func (s *TCPStream) TTL() (int, error) { return ttl(&s.Descriptor) }

// SetTTL sets how many hops a sent unicast packet may take, from 1 to 255 (IP_TTL, or
// IPV6_UNICAST_HOPS; both on a dual-stack socket). SetMulticastTTL is for multicast.
func (u *UDPSocket) SetTTL(hops int) error { return setTTL(&u.Descriptor, hops) }

// TTL returns how many hops a sent unicast packet may take.
func (u *UDPSocket) TTL() (int, error) { return ttl(&u.Descriptor) }

func setTTL(d *Descriptor, hops int) error {
	return d.setByFamily("IP_TTL", sys.IP_TTL, sys.IPV6_UNICAST_HOPS, hops, 1, 255)
}

func ttl(d *Descriptor) (int, error) {
	level, option, err := d.familyOption(sys.IP_TTL, sys.IPV6_UNICAST_HOPS)
	if err != nil {
		return 0, err
	}
	return d.get("IP_TTL", level, option)
}

// SetBroadcast sets whether the socket may send to broadcast addresses (SO_BROADCAST,
// socket(7)). By default it may not, and sending to one is EACCES.
func (u *UDPSocket) SetBroadcast(on bool) error {
	return u.set("SO_BROADCAST", sys.SOL_SOCKET, sys.SO_BROADCAST, toInt(on))
}

// Broadcast reports whether the socket may send to broadcast addresses.
func (u *UDPSocket) Broadcast() (bool, error) {
	v, err := u.get("SO_BROADCAST", sys.SOL_SOCKET, sys.SO_BROADCAST)
	return v != 0, err
}

// JoinGroup joins a multicast group on the interface with the index (net.Interface): the
// socket receives what is sent to the group. With index 0 the system chooses the interface.
// The error is EADDRINUSE if the socket is already a member, ENODEV if no interface leads to the
// group, and ErrBadArgument for an address that is not multicast or a negative index.
func (u *UDPSocket) JoinGroup(group netip.Addr, ifindex int) error {
	return u.membership("join group", group, ifindex, true)
}

// LeaveGroup leaves a multicast group that JoinGroup has joined on the interface with the index.
// The errors are those of JoinGroup, but EADDRNOTAVAIL if the socket is not a member.
func (u *UDPSocket) LeaveGroup(group netip.Addr, ifindex int) error {
	return u.membership("leave group", group, ifindex, false)
}

func (u *UDPSocket) membership(op string, group netip.Addr, ifindex int, join bool) error {
	group = group.Unmap()
	if !group.IsMulticast() {
		return u.opError(op, bad("%v is not a multicast address", group))
	}
	if err := inRange("the interface index", ifindex, 0, math.MaxInt32); err != nil {
		return u.opError(op, err)
	}
	return u.withFD(op, func(fd sys.FD) error {
		if e := sys.SetMembership(fd, group, ifindex, join); e != 0 {
			return u.callError(op, "setsockopt", e)
		}
		return nil
	})
}

// SetMulticastTTL sets how many hops a sent multicast packet may take, from 0 to 255; the
// system's default is 1.
//
// On Linux this method, SetMulticastLoop and SetMulticastInterface apply to IPv4 and IPv6
// groups if the socket is on [::]. On the BSDs and macOS they then apply to IPv6 groups
// only: send to IPv4 groups from a socket on 0.0.0.0.
func (u *UDPSocket) SetMulticastTTL(hops int) error {
	return u.setByFamily("IP_MULTICAST_TTL", sys.IP_MULTICAST_TTL, sys.IPV6_MULTICAST_HOPS, hops, 0, 255)
}

// SetMulticastLoop sets whether sent multicast packets are delivered to this host, too; by default
// they are. See SetMulticastTTL for dual-stack sockets.
func (u *UDPSocket) SetMulticastLoop(on bool) error {
	return u.setByFamily("IP_MULTICAST_LOOP", sys.IP_MULTICAST_LOOP, sys.IPV6_MULTICAST_LOOP, toInt(on), 0, 1)
}

// SetMulticastInterface sets the interface for sent multicast packets, by its index
// (net.Interface), which must not be negative. With index 0 the system chooses. See
// SetMulticastTTL for dual-stack sockets.
func (u *UDPSocket) SetMulticastInterface(ifindex int) error {
	if err := inRange("the interface index", ifindex, 0, math.MaxInt32); err != nil {
		return u.opError("set multicast interface", err)
	}
	level, _, err := u.familyOption(0, 0)
	if err != nil {
		return err
	}
	set4 := func(fd sys.FD) syscall.Errno { return sys.SetMulticastInterface4(fd, ifindex) }
	if level == sys.IPPROTO_IPV6 {
		if err := u.set("IPV6_MULTICAST_IF", level, sys.IPV6_MULTICAST_IF, ifindex); err != nil {
			return err
		}
		return u.setMapped("IP_MULTICAST_IF", set4)
	}
	return u.withFD("set IP_MULTICAST_IF", func(fd sys.FD) error {
		if e := set4(fd); e != 0 {
			return u.callError("set IP_MULTICAST_IF", "setsockopt", e)
		}
		return nil
	})
}
