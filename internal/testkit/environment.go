package testkit

import (
	"net/netip"
	"os"
	"testing"

	"github.com/pollux-io/pollux/internal/sys"
)

// LongEnv names the environment variable that enables the long runs; .ci/run sets it.
const LongEnv = "POLLUX_TEST_LONG"

// Long reports whether the long runs are enabled.
func Long() bool { return os.Getenv(LongEnv) != "" }

// SilentEnv names the environment variable with the address of a host that is on a network of this
// machine and does not answer: datagrams to it stay in the socket's send buffer until address
// resolution fails (arp(7)), a few seconds later. On loopback, no send buffer ever fills. .ci/silent
// makes such a network.
const SilentEnv = "POLLUX_TEST_SILENT"

// SilentHost returns the address that SilentEnv names. Without one it skips the test.
func SilentHost(t testing.TB) netip.Addr {
	t.Helper()
	a, ok := LookupSilentHost()
	if !ok {
		t.Skip("skipped: on loopback, sending a datagram never blocks; set " + SilentEnv + " to an address on a network of this machine that does not answer")
	}
	return a
}

// LookupSilentHost returns the address that SilentEnv names, and whether there is one.
func LookupSilentHost() (netip.Addr, bool) {
	a, err := netip.ParseAddr(os.Getenv(SilentEnv))
	return a, err == nil
}

// SkipBackend skips a test of the backend of that name if POLLUX_BACKEND forces another one, or if it is not usable here,
// for the reason why.
func SkipBackend(t testing.TB, name string, usable bool, why string) {
	t.Helper()
	switch forced := os.Getenv("POLLUX_BACKEND"); {
	case forced != "" && forced != name:
		t.Skip("skipped: POLLUX_BACKEND forces " + forced)
	case !usable:
		t.Skip("skipped: " + why)
	}
}

// SkipOnWine skips the test under Wine. The reason describes how Wine differs from Windows.
func SkipOnWine(t testing.TB, reason string) {
	t.Helper()
	if sys.OnWine() {
		t.Skip("skipped under Wine: " + reason)
	}
}
