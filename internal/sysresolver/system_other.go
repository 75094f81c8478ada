//go:build !windows

package sysresolver

// System returns the lookup of this system, and whether it is that of GetAddrInfoExW.
func System() (lookup Lookup, addrInfoEx bool) { return netLookup, false }
