//go:build !windows

package dnsconf

// DefaultPaths returns where the files of this system are.
func DefaultPaths() Paths {
	return Paths{Resolv: "/etc/resolv.conf", NSSwitch: "/etc/nsswitch.conf", Hosts: "/etc/hosts"}
}
