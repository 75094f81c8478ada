package sys

import (
	"fmt"
	"net"
	"net/netip"
	"runtime"
	"strconv"
	"syscall"
)

// AddressError is CallError for a call with the address a. It adds what the errno does not
// say: that the zone is missing or is not an interface.
func AddressError(call string, e syscall.Errno, a *Sockaddr) error {
	err := CallError(call, e)
	if hint := zoneHint(e, a.AddrPort().Addr()); hint != "" {
		return fmt.Errorf("%w: %s", err, hint)
	}
	return err
}

// zoneHint describes what is wrong with ip's zone, if that may be the cause of e; else it
// returns "". A link-local address is meaningful only on one of the host's links (RFC 4007,
// 6). Without a zone, systems return different errors, and Linux may choose any link.
func zoneHint(e syscall.Errno, ip netip.Addr) string {
	switch e {
	case syscall.EINVAL, syscall.EADDRNOTAVAIL, syscall.ENETUNREACH, syscall.EHOSTUNREACH, syscall.ENODEV:
	default:
		return ""
	}
	if !ip.Is6() || ip.Is4In6() {
		return ""
	}
	if ip.Zone() == "" { // also for zone 0, which means no zone
		if ip.IsLinkLocalUnicast() || ip.IsLinkLocalMulticast() {
			return fmt.Sprintf("%v is link-local: name its interface, as in %v%%%s", ip, ip, exampleZone())
		}
		return ""
	}
	if index, err := strconv.Atoi(ip.Zone()); err == nil {
		if _, err := net.InterfaceByIndex(index); err != nil {
			return fmt.Sprintf("%v: there is no network interface %d", ip, index)
		}
	}
	return ""
}

// exampleZone returns a typical interface name or number of this system.
func exampleZone() string {
	switch runtime.GOOS {
	case "linux":
		return "eth0"
	case "windows":
		return "12"
	}
	return "en0"
}
