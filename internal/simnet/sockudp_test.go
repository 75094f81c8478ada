package simnet_test

import (
	"errors"
	"fmt"
	"net/netip"
	"syscall"
	"testing"

	"github.com/pollux-io/pollux/internal/sys"
	"github.com/pollux-io/pollux/internal/testkit"
	"github.com/pollux-io/pollux/sock"
)

// The datagram sockets of package sock work on a host as on the machine's kernel.
func TestUDPByPackageSock(t *testing.T) {
	testkit.CheckLeaks(t)
	h := newHosts(t, 2)
	to := must[*sock.UDPSocket](t)(sock.ListenUDP(netip.AddrPortFrom(h[0].Addr(), 53), sock.OnNetwork(h[0]), sock.ReadBuffer(1<<20)))
	from := must[*sock.UDPSocket](t)(sock.ConnectUDP(to.LocalAddr(), sock.OnNetwork(h[1])))
	defer to.Close()
	defer from.Close()
	if from.RemoteAddr() != to.LocalAddr() || from.LocalAddr().Addr() != h[1].Addr() {
		t.Errorf("a socket from %v to %v", from.LocalAddr(), from.RemoteAddr())
	}
	const count = 2*sys.MaxBatch + 10 // more than two batches
	out, in := make([]sock.Message, count), make([]sock.Message, count+1)
	for i := range out {
		out[i].Data, in[i].Data = fmt.Append(nil, i), make([]byte, 2)
	}
	if k, err := from.WriteBatch(out); k != count || err != nil {
		t.Errorf("WriteBatch = %d, %v", k, err)
	}
	if k, err := to.ReadBatch(in); k != count || err != nil {
		t.Errorf("ReadBatch = %d, %v", k, err)
	}
	for i, m := range in[:count] {
		want := fmt.Sprint(i)
		if got := string(m.Data[:m.N]); got != want[:min(2, len(want))] || m.Truncated != (len(want) > 2) || m.Addr != from.LocalAddr() {
			t.Errorf("datagram %d is %q from %v, truncated %v", i, got, m.Addr, m.Truncated)
		}
	}
	if _, err := to.ReadBatch(in); err != sock.ErrWouldBlock {
		t.Errorf("ReadBatch of nothing = %v", err)
	}
	if _, err := to.WriteTo([]byte("back"), from.LocalAddr()); err != nil {
		t.Error(err)
	}
	b := make([]byte, 10)
	if k, err := from.Read(b); string(b[:k]) != "back" || err != nil {
		t.Errorf("Read = %q, %v", b[:k], err)
	}
	if err := errors.Join(to.SetBroadcast(true), to.SetTTL(3), to.SetMulticastTTL(2), to.JoinGroup(netip.MustParseAddr("239.1.1.1"), 0)); err != nil {
		t.Error(err)
	}
	if hops, err := to.TTL(); hops != 3 || err != nil {
		t.Errorf("TTL = %d, %v", hops, err)
	}
	if err := to.Close(); err != nil {
		t.Error(err)
	}
	if _, err := from.Write(b); err != nil {
		t.Error(err)
	}
	if _, err := from.Read(b); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("Read after the peer is closed = %v, want ECONNREFUSED", err)
	}
}
