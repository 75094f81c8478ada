package sock_test

import (
	"net"
	"testing"
)

func loopbackIndex(t testing.TB) int {
	t.Helper()
	all, err := net.Interfaces()
	must(t, err)
	for _, i := range all {
		if i.Flags&net.FlagLoopback != 0 {
			return i.Index
		}
	}
	t.Skip("this machine has no loopback interface")
	return 0
}
