package loop_test

import (
	"errors"
	"net"
	"net/netip"
	"syscall"
	"testing"

	"github.com/pollux-io/pollux/internal/selector/conformance"
	"github.com/pollux-io/pollux/loop"
	"github.com/pollux-io/pollux/sock"
)

// Want of descriptors for a moment is no want of IPv6 for good.
func TestListenAfterWantOfDescriptors(t *testing.T) {
	if !conformance.InChild(t) {
		return
	}
	probe, err := sock.ListenTCP(netip.AddrPortFrom(netip.IPv6Unspecified(), 0))
	if err != nil {
		t.Skip(err)
	}
	probe.Close()
	g := group(t, loop.Config{Loops: 1, Logger: quiet()})
	listen := func() (*loop.Listener, error) {
		return g.Listen("tcp", ":0", func(*loop.Conn) loop.Handler { return echo{} })
	}
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	free, err := syscall.Dup(0)
	if err != nil {
		t.Fatal(err)
	}
	none := limit
	none.Cur = uint64(free) // no less: poll(2) takes no more descriptors than that
	syscall.Close(free)
	syscall.Setrlimit(syscall.RLIMIT_NOFILE, &none)
	_, err = listen()
	syscall.Setrlimit(syscall.RLIMIT_NOFILE, &limit)
	if !errors.Is(err, syscall.EMFILE) {
		t.Errorf("Listen without descriptors: %v, want EMFILE", err)
	}
	ln, err := listen()
	if err != nil {
		t.Fatalf("Listen with descriptors again: %v", err)
	}
	if at := ln.Addr().(*net.TCPAddr); at.IP.To4() != nil {
		t.Errorf("it listens at %v, for IPv4 alone", at)
	}
}
