package sock

import (
	"fmt"
	"net"
	"net/netip"
	"runtime"
	"strconv"
	"syscall"

	"github.com/pollux-io/pollux/internal/sys"
)

// addressError makes the error of a system call that was given the address a, and says
// what the errno leaves out: that the zone is missing, or is no interface's.
func addressError(call string, e syscall.Errno, a *sys.Sockaddr) error {
	err := sys.CallError(call, e)
	if hint := zoneHint(e, a.AddrPort().Addr()); hint != "" {
		return fmt.Errorf("%w: %s", err, hint)
	}
	return err
}

// zoneHint explains the failure with e of a call for ip by its zone, if that may be it.
// Link-local addresses mean one of the links that the host has (RFC 4007, 6): what each
// system answers without a zone differs, and Linux may also take any link.
func zoneHint(e syscall.Errno, ip netip.Addr) string {
	switch e {
	case syscall.EINVAL, syscall.EADDRNOTAVAIL, syscall.ENETUNREACH, syscall.EHOSTUNREACH, syscall.ENODEV:
	default:
		return ""
	}
	if !ip.Is6() || ip.Is4In6() {
		return ""
	}
	if ip.Zone() == "" { // also of zone 0, which is none
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

// exampleZone returns how an interface may be called on this system: its name, or its
// number.
func exampleZone() string {
	switch runtime.GOOS {
	case "linux":
		return "eth0"
	case "windows":
		return "12"
	}
	return "en0"
}
