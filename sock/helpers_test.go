package sock_test

import (
	"net"
	"testing"
)

// interfaces lists the network interfaces, or skips the test: qemu-user for a big-endian
// processor returns netlink messages that package net cannot parse.
func interfaces(t testing.TB) []net.Interface {
	t.Helper()
	all, err := net.Interfaces()
	if err != nil {
		t.Skip("the interfaces cannot be listed here: ", err)
	}
	return all
}

func loopbackIndex(t testing.TB) int {
	t.Helper()
	for _, i := range interfaces(t) {
		if i.Flags&net.FlagLoopback != 0 {
			return i.Index
		}
	}
	t.Skip("this machine has no loopback interface")
	return 0
}
