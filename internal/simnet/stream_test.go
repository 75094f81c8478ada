package simnet

import (
	"fmt"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/pollux-io/pollux/internal/sys"
)

// The sizes of buffers bound what a connection holds, exactly.
func TestBuffersAreBounded(t *testing.T) {
	const readBuffer, writeBuffer = 10_000, 20_000
	onNetworks(t, func(t *testing.T, network string, n *Network, h *Host) {
		client, server := connectOn(t, h, network)
		client.SetWriteBuffer(writeBuffer)
		server.SetReadBuffer(readBuffer)
		want := readBuffer + writeBuffer
		if network == "unix" {
			want = 2 * writeBuffer // what was set, doubled, bounds both
		} else { // use up the window that was announced before
			window := int(client.s.stream().limit)
			write(t, client, string(make([]byte, window)))
			for got := 0; got < window; {
				got += len(read(t, server))
			}
		}
		sent := 0
		for size := 5_000; size > 0; size = max(size/2, size-5_000) {
			for {
				k, e := client.s.Send([][]byte{make([]byte, size)}, 0)
				if sent += k; k < size {
					if e != 0 && e != syscall.EAGAIN {
						t.Fatal(e)
					}
					break
				}
			}
			if size == 1 {
				break
			}
		}
		if sent != want {
			t.Errorf("%d bytes were taken, want %d", sent, want)
		}
		if k, _ := server.s.UnreadBytes(); network != "unix" && k != readBuffer {
			t.Errorf("the receiver holds %d bytes, want %d", k, readBuffer)
		}
	})
}

// A reader that takes a little at a time causes an acknowledgement for many reads, not for each.
func TestWindowUpdatesAreFew(t *testing.T) {
	bubble(t, Config{}, func(t *testing.T, n *Network) {
		t.Cleanup(n.Close)
		client, server := connect(t, n.Host(), n.Host())
		updates := 0
		n.SetRule(func(s *Segment) Verdict {
			if s.Kind == ackPacket {
				updates++
			}
			return Pass
		})
		write(t, client, string(make([]byte, 500_000)))
		updates = 0
		for range 40_000 {
			server.s.Recv([][]byte{make([]byte, 10)}, 0)
		}
		if updates < 400_000/defaultTCPReceive || updates > 60 {
			t.Errorf("40,000 reads of 10 bytes caused %d acknowledgements", updates)
		}
	})
}

// Listeners with SO_REUSEPORT share the connections, as the seed wills; one that is bound to the very
// address comes before one that is bound to all.
func TestChoiceOfTheListener(t *testing.T) {
	run := func(seed uint64) (counts [3]int) {
		bubble(t, Config{Seed: seed}, func(t *testing.T, n *Network) {
			t.Cleanup(n.Close)
			h := n.Host()
			var sockets [3]*Socket
			for i, local := range []string{"0.0.0.0:80", "10.0.0.1:80", "10.0.0.1:80"} {
				a, err := parseAddress("tcp", local)
				must(t, err)
				s, fd, err := h.openFor("listen", "tcp", a)
				must(t, err)
				defer s.Close(fd)
				s.SetInt(sys.SOL_SOCKET, sys.SO_REUSEPORT, 1)
				if e := s.Bind(s.sockaddr(a)); e != 0 {
					t.Fatal(e)
				}
				if e := s.Listen(1000); e != 0 {
					t.Fatal(e)
				}
				sockets[i] = s
			}
			for range 100 {
				c, err := h.Dial(t.Context(), "tcp", "10.0.0.1:80")
				must(t, err)
				t.Cleanup(func() { c.Close() })
			}
			for i, s := range sockets {
				counts[i] = len(s.stream().accepts)
			}
		})
		return counts
	}
	counts := run(1)
	if counts[1] < 20 || counts[2] < 20 || counts[1]+counts[2] != 100 {
		t.Errorf("the listeners got %v connections", counts)
	}
	if run(1) != counts {
		t.Error("the same seed chose other listeners")
	}
}

// Segments that overtake others wait for them.
func TestEarlySegments(t *testing.T) {
	bubble(t, Config{}, func(t *testing.T, n *Network) {
		t.Cleanup(n.Close)
		client, server := connect(t, n.Host(), n.Host())
		lost := []int64{0, 10, 30}
		n.SetRule(func(s *Segment) Verdict {
			if s.Kind == dataPacket && s.Attempt == 0 && slices.Contains(lost, s.Offset) {
				return Drop
			}
			return Pass
		})
		start := time.Now()
		for i := range 5 {
			write(t, client, fmt.Sprintf("segment %d.", i))
		}
		must(t, client.CloseWrite())
		if k, _ := server.s.UnreadBytes(); k != 0 || len(server.s.stream().early) != 3 {
			t.Errorf("%d bytes and %d early packets, want 0 bytes, 2 segments and a FIN", k, len(server.s.stream().early))
		}
		if got := read(t, server); got != "segment 0." {
			t.Errorf("read %q", got)
		}
		took(t, "the retransmission", start, firstRetry)
		time.Sleep(time.Second)
		if got, want := read(t, server), "segment 1.segment 2.segment 3.segment 4."; got != want {
			t.Errorf("read %q", got)
		}
		if _, err := server.Read(make([]byte, 1)); err == nil {
			t.Error("the FIN is lost")
		}
		if k := len(server.s.stream().early); k != 0 {
			t.Errorf("%d packets remain", k)
		}
	})
}
