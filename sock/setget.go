package sock

import (
	"fmt"
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

// setRange is set for what has a range of its own: systems take some values beyond it
// for others.
func (d *Descriptor) setRange(name string, level, option, value, least, most int) error {
	if err := inRange(name, value, least, most); err != nil {
		return d.failure("set "+name, err)
	}
	return d.set(name, level, option, value)
}

func inRange(name string, value, least, most int) error {
	if value < least || value > most {
		return fmt.Errorf("%w: %s is %d; it goes from %d to %d", ErrBadOption, name, value, least, most)
	}
	return nil
}

func (d *Descriptor) set(name string, level, option, value int) error {
	return d.use("set "+name, func(fd sys.FD) error {
		if e := sys.SetInt(fd, level, option, value); e != 0 {
			return d.failed("set "+name, "setsockopt", e)
		}
		return nil
	})
}

func (d *Descriptor) get(name string, level, option int) (v int, err error) {
	err = d.use("get "+name, func(fd sys.FD) error {
		var e syscall.Errno
		if v, e = sys.GetInt(fd, level, option); e != 0 {
			return d.failed("get "+name, "getsockopt", e)
		}
		return nil
	})
	return v, err
}

// byFamily sets the option of the socket's own address family, and that of IPv4 on a
// socket of IPv6 that has peers of both.
func (d *Descriptor) byFamily(name string, v4, v6, value, least, most int) error {
	level, option, err := d.familyOption(v4, v6)
	if err != nil {
		return err
	}
	if err := d.setRange(name, level, option, value, least, most); err != nil || level == sys.IPPROTO_IP {
		return err
	}
	return d.mapped(name, func(fd sys.FD) syscall.Errno { return sys.SetInt(fd, sys.IPPROTO_IP, v4, value) })
}

// mapped sets an option for the IPv4 peers of a socket of IPv6, if it can have any.
func (d *Descriptor) mapped(name string, set func(fd sys.FD) syscall.Errno) error {
	return d.use("set "+name, func(fd sys.FD) error {
		if only, e := sys.GetInt(fd, sys.IPPROTO_IPV6, sys.IPV6_V6ONLY); e != 0 || only != 0 {
			return nil
		}
		if e := set(fd); e != 0 && sys.HasMappedOptions {
			return d.failed("set "+name, "setsockopt", e)
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

// SetRecvBuffer sets the size of the kernel's receive buffer in bytes, from 1 up; the
// system has bounds of its own. On TCP the option RecvBuffer does more.
func (d *Descriptor) SetRecvBuffer(bytes int) error {
	return d.setRange("SO_RCVBUF", sys.SOL_SOCKET, sys.SO_RCVBUF, bytes, 1, math.MaxInt32)
}

// RecvBuffer returns the size of the kernel's receive buffer in bytes. Linux
// reports twice what was set (socket(7)).
func (d *Descriptor) RecvBuffer() (int, error) {
	return d.get("SO_RCVBUF", sys.SOL_SOCKET, sys.SO_RCVBUF)
}

// SetSendBuffer sets the size of the kernel's send buffer in bytes, from 1 up; the system
// has bounds of its own.
func (d *Descriptor) SetSendBuffer(bytes int) error {
	return d.setRange("SO_SNDBUF", sys.SOL_SOCKET, sys.SO_SNDBUF, bytes, 1, math.MaxInt32)
}

// SendBuffer returns the size of the kernel's send buffer in bytes. Linux reports
// twice what was set (socket(7)).
func (d *Descriptor) SendBuffer() (int, error) {
	return d.get("SO_SNDBUF", sys.SOL_SOCKET, sys.SO_SNDBUF)
}

// SetTTL sets how many hops a packet may take, 1 to 255 (IP_TTL, or
// IPV6_UNICAST_HOPS; both on a socket of both).
func (s *TCPStream) SetTTL(hops int) error { return setTTL(&s.Descriptor, hops) }

// TTL returns how many hops a packet may take.
func (s *TCPStream) TTL() (int, error) { return ttl(&s.Descriptor) }

// SetTTL sets how many hops a packet may take, 1 to 255 (IP_TTL, or
// IPV6_UNICAST_HOPS; both on a socket of both).
func (u *UDPSocket) SetTTL(hops int) error { return setTTL(&u.Descriptor, hops) }

// TTL returns how many hops a packet may take.
func (u *UDPSocket) TTL() (int, error) { return ttl(&u.Descriptor) }

func setTTL(d *Descriptor, hops int) error {
	return d.byFamily("IP_TTL", sys.IP_TTL, sys.IPV6_UNICAST_HOPS, hops, 1, 255)
}

func ttl(d *Descriptor) (int, error) {
	level, option, err := d.familyOption(sys.IP_TTL, sys.IPV6_UNICAST_HOPS)
	if err != nil {
		return 0, err
	}
	return d.get("IP_TTL", level, option)
}

// SetBroadcast allows datagrams to broadcast addresses (SO_BROADCAST, socket(7)): without
// it, sending there is EACCES.
func (u *UDPSocket) SetBroadcast(on bool) error {
	return u.set("SO_BROADCAST", sys.SOL_SOCKET, sys.SO_BROADCAST, toInt(on))
}

// Broadcast tells whether datagrams to broadcast addresses are allowed.
func (u *UDPSocket) Broadcast() (bool, error) {
	v, err := u.get("SO_BROADCAST", sys.SOL_SOCKET, sys.SO_BROADCAST)
	return v != 0, err
}

// JoinGroup makes the socket receive what is sent to a multicast group on the
// interface with the index (net.Interface); 0 lets the system choose. To be in it already
// is EADDRINUSE; where there is no way to it, ENODEV.
func (u *UDPSocket) JoinGroup(group netip.Addr, ifindex int) error {
	return u.membership("join group", group, ifindex, true)
}

// LeaveGroup ends what JoinGroup began.
func (u *UDPSocket) LeaveGroup(group netip.Addr, ifindex int) error {
	return u.membership("leave group", group, ifindex, false)
}

func (u *UDPSocket) membership(op string, group netip.Addr, ifindex int, join bool) error {
	group = group.Unmap()
	if !group.IsMulticast() {
		return u.failure(op, fmt.Errorf("%w: %v is no multicast address", ErrBadOption, group))
	}
	if err := inRange("the interface's index", ifindex, 0, math.MaxInt32); err != nil {
		return u.failure(op, err)
	}
	return u.use(op, func(fd sys.FD) error {
		if e := sys.SetMembership(fd, group, ifindex, join); e != 0 {
			return u.failed(op, "setsockopt", e)
		}
		return nil
	})
}

// SetMulticastTTL sets how many hops a multicast packet may take, 0 to 255; the
// system's default is 1.
//
// On a socket on [::] this, SetMulticastLoop and SetMulticastInterface are for groups of
// both families on Linux. The BSDs and macOS have them for those of IPv6 alone there: send
// to the others from a socket on 0.0.0.0.
func (u *UDPSocket) SetMulticastTTL(hops int) error {
	return u.byFamily("IP_MULTICAST_TTL", sys.IP_MULTICAST_TTL, sys.IPV6_MULTICAST_HOPS, hops, 0, 255)
}

// SetMulticastLoop says whether multicast packets come back to this host.
func (u *UDPSocket) SetMulticastLoop(on bool) error {
	return u.byFamily("IP_MULTICAST_LOOP", sys.IP_MULTICAST_LOOP, sys.IPV6_MULTICAST_LOOP, toInt(on), 0, 1)
}

// SetMulticastInterface says by which interface multicast packets leave, by its
// index (net.Interface); 0 lets the system choose.
func (u *UDPSocket) SetMulticastInterface(ifindex int) error {
	if err := inRange("the interface's index", ifindex, 0, math.MaxInt32); err != nil {
		return u.failure("set multicast interface", err)
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
		return u.mapped("IP_MULTICAST_IF", set4)
	}
	return u.use("set IP_MULTICAST_IF", func(fd sys.FD) error {
		if e := set4(fd); e != 0 {
			return u.failed("set IP_MULTICAST_IF", "setsockopt", e)
		}
		return nil
	})
}
