package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"os"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pollux-io/pollux/loop"
	"github.com/pollux-io/pollux/loop/looptest"
	"github.com/pollux-io/pollux/sock"
)

// The tests in this file run the server on a simulated network, in bubbles of testing/synctest: their
// minutes take no time. docs/testing.md explains them.

// A simulation is the server on one host, and a host for its clients.
type simulation struct {
	*looptest.Network
	server, client *looptest.Host
	group          *loop.Group
	log            chan string // the lines that the server has logged
}

// simulate starts the server. It must be called in a bubble.
func simulate(t *testing.T, c looptest.Config, options ...sock.Option) *simulation {
	t.Helper()
	n := looptest.New(t, c)
	s := &simulation{Network: n, server: n.Host(), client: n.Host(), log: make(chan string, 1000)}
	log.SetOutput(s)
	t.Cleanup(func() { log.SetOutput(os.Stderr) })
	s.group = s.server.NewGroup(config)
	if _, err := s.group.Listen("tcp", ":7000", newSession, options...); err != nil {
		t.Fatal(err)
	}
	return s
}

// Write gets the lines of the log. The trace has them, too.
func (s *simulation) Write(line []byte) (int, error) {
	s.Tracef("log: %s", bytes.TrimSpace(line))
	s.log <- string(line)
	return len(line), nil
}

// dial connects to the server.
func (s *simulation) dial(t *testing.T) *looptest.Conn {
	t.Helper()
	c, err := s.client.Dial("tcp", s.server.String()+":7000")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// open returns how many connections the server has.
func (s *simulation) open() (n int) {
	for _, l := range s.group.Stats().Loops {
		n += l.Conns
	}
	return n
}

// The commands and the answers of several tests.
var (
	commands = "ECHO castor\r\nCOUNT 3\nHASH x\nCOUNT 0\nECHO pollux\n"
	answers  = "castor\n1\n2\n3\n" + hash([]byte("x")) + "\nerror: COUNT takes a number from 1 to 1000000\npollux\n"
)

// Commands are answered in the same way wherever the stream is cut in two.
func TestSplitCommands(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := simulate(t, looptest.Config{})
		for cut := range len(commands) + 1 {
			c := s.dial(t)
			io.WriteString(c, commands[:cut])
			time.Sleep(time.Second) // until the server has nothing to do
			io.WriteString(c, commands[cut:])
			c.CloseWrite()
			if got, err := io.ReadAll(c); string(got) != answers || err != nil {
				t.Errorf("cut after %d bytes: got %q, %v, want %q", cut, got, err, answers)
			}
		}
	})
}

// A client that reads a hundred lines a second is sent everything, and costs the server no more memory
// than the high watermark. Other clients are served meanwhile.
func TestSimulatedSlowReader(t *testing.T) {
	const last = 50_000
	synctest.Test(t, func(t *testing.T) {
		s := simulate(t, looptest.Config{}, sock.WriteBuffer(8<<10))
		slow, other := s.dial(t), s.dial(t)
		slow.SetReadBuffer(8 << 10)
		fmt.Fprintf(slow, "COUNT %d\nECHO end\n", last)
		slowLines, otherLines := bufio.NewReader(slow), bufio.NewReader(other)
		for i := 1; i <= last; i++ {
			expect(t, slowLines, fmt.Sprint(i))
			if i%100 != 0 {
				continue
			}
			time.Sleep(time.Second)
			if unsent := s.group.Stats().Loops[0].UnsentBytes; unsent > highWatermark+16 {
				t.Fatalf("%d bytes are unsent, want at most the high watermark, %d", unsent, highWatermark)
			}
			io.WriteString(other, "ECHO hello\n")
			expect(t, otherLines, "hello")
		}
		expect(t, slowLines, "end")
	})
}

// resetAfter returns a rule that resets each connection after the first n bytes that the host has sent
// on it.
func resetAfter(host *looptest.Host, n int64) func(*looptest.Segment) looptest.Verdict {
	return func(s *looptest.Segment) looptest.Verdict {
		if s.Kind == looptest.Data && s.FromHost == host && s.Offset+int64(len(s.Data)) > n {
			return looptest.ResetAfter(int(n - s.Offset))
		}
		return looptest.Pass
	}
}

// Wherever a connection is reset, among the commands or among the answers, the server releases it, logs
// the reason and the client's address, and serves others.
func TestResetAtEveryByte(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := simulate(t, looptest.Config{})
		descriptors := s.server.Descriptors()
		cutOff := func(host *looptest.Host, cut int) {
			t.Helper()
			s.SetRule(resetAfter(host, int64(cut)))
			c := s.dial(t)
			io.WriteString(c, commands)
			got, err := io.ReadAll(c)
			if !errors.Is(err, syscall.ECONNRESET) || !strings.HasPrefix(answers, string(got)) {
				t.Errorf("reset after %d bytes: the client got %q, %v", cut, got, err)
			}
			if host == s.server && string(got) != answers[:cut] {
				t.Errorf("reset after %d bytes of the answers: the client got %q", cut, got)
			}
			line := <-s.log
			reset := strings.Contains(line, syscall.ECONNRESET.Error()) || strings.Contains(line, syscall.EPIPE.Error())
			if !reset || !strings.Contains(line, c.LocalAddr().String()+": ") {
				t.Errorf("reset after %d bytes: logged %q", cut, line)
			}
			time.Sleep(time.Second)
			if n := s.server.Descriptors(); n != descriptors || s.open() != 0 || len(s.log) > 0 {
				t.Errorf("reset after %d bytes: %d descriptors, %d connections and %d lines of the log are left", cut, n-descriptors, s.open(), len(s.log))
			}
		}
		for cut := range commands {
			cutOff(s.client, cut)
		}
		for cut := range answers {
			cutOff(s.server, cut)
		}
		s.SetRule(nil)
		c := s.dial(t)
		io.WriteString(c, commands+"QUIT\n")
		if got, err := io.ReadAll(c); string(got) != answers || err != nil {
			t.Errorf("after all the resets: got %q, %v, want %q", got, err, answers)
		}
	})
}

// A client that resets the connection in the middle of a long answer, with a command behind it, leaves nothing.
func TestResetDuringAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := simulate(t, looptest.Config{}, sock.WriteBuffer(8<<10))
		c := s.dial(t)
		c.SetReadBuffer(8 << 10)
		io.WriteString(c, "COUNT 1000000\nECHO end\n")
		time.Sleep(time.Second)
		if n := s.open(); n != 1 {
			t.Errorf("the server has %d connections, want 1", n)
		}
		c.Abort()
		time.Sleep(time.Second)
		if n := s.open(); n != 0 {
			t.Errorf("after the reset, the server has %d connections", n)
		}
	})
}

// timeUntilClosed returns how long the server keeps the connection open from now.
func timeUntilClosed(t *testing.T, c *looptest.Conn) time.Duration {
	t.Helper()
	begin := time.Now()
	if got, err := io.ReadAll(c); len(got) > 0 || err != nil {
		t.Errorf("got %q, %v, want only the end of the stream", got, err)
	}
	return time.Since(begin).Round(10 * time.Millisecond)
}

// A client is closed five minutes after its last byte, and ten seconds after the beginning of a line
// without an end. Activity puts off the former and not the latter.
func TestTimeouts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := simulate(t, looptest.Config{})
		idle := s.dial(t)
		for range 3 {
			time.Sleep(idleTimeout - time.Second)
			io.WriteString(idle, "ECHO \n")
			expect(t, bufio.NewReader(idle), "")
		}
		if after := timeUntilClosed(t, idle); after != idleTimeout {
			t.Errorf("an idle client is closed after %v, want %v", after, idleTimeout)
		}
		slow := s.dial(t)
		for range 3 {
			io.WriteString(slow, "E")
			time.Sleep(lineTimeout / 4)
		}
		if after := timeUntilClosed(t, slow); after != lineTimeout/4 {
			t.Errorf("the rest of a line is awaited for %v more, want %v", after, lineTimeout/4)
		}
	})
}

// A partition of less than the idle timeout only delays an answer. After a longer one the server has closed
// the connection, and the client learns it; but what the server had answered before still arrives.
func TestPartition(t *testing.T) {
	for _, x := range []struct {
		cut   func(n *looptest.Network, from, to *looptest.Host)
		lasts time.Duration
		want  string
		err   error
	}{
		{(*looptest.Network).Partition, time.Minute, "hello\n", nil},
		{(*looptest.Network).PartitionOneWay, time.Minute, "hello\n", nil},
		{(*looptest.Network).Partition, idleTimeout + time.Minute, "", syscall.ECONNRESET},
		{(*looptest.Network).PartitionOneWay, idleTimeout + time.Minute, "hello\n", nil},
	} {
		synctest.Test(t, func(t *testing.T) {
			s := simulate(t, looptest.Config{Link: looptest.Link{Latency: 20 * time.Millisecond}})
			c := s.dial(t)
			x.cut(s.Network, s.server, s.client)
			io.WriteString(c, "ECHO hello\n")
			time.Sleep(x.lasts)
			s.Heal(s.server, s.client)
			if got, err := bufio.NewReader(c).ReadString('\n'); got != x.want || !errors.Is(err, x.err) {
				t.Errorf("after a partition of %v: got %q, %v, want %q, %v", x.lasts, got, err, x.want, x.err)
			}
		})
	}
}

// loseFirst returns a rule that loses each segment of bytes from a host, and lets its retransmissions pass.
func loseFirst(host *looptest.Host) func(*looptest.Segment) looptest.Verdict {
	return func(s *looptest.Segment) looptest.Verdict {
		if s.Kind == looptest.Data && s.FromHost == host && s.Attempt == 0 {
			return looptest.Drop
		}
		return looptest.Pass
	}
}

// An answer that is lost on its way arrives later.
func TestLostAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := simulate(t, looptest.Config{Link: looptest.Link{Latency: 20 * time.Millisecond}})
		s.SetRule(loseFirst(s.server))
		c := s.dial(t)
		begin := time.Now()
		io.WriteString(c, "ECHO hello\n")
		expect(t, bufio.NewReader(c), "hello")
		if after := time.Since(begin).Round(time.Millisecond); after != 240*time.Millisecond {
			t.Errorf("the answer came after %v, want 40 ms and a retransmission after 200 ms", after)
		}
	})
}

// A client whose machine is gone sends no FIN. Keep-alive finds it.
func TestClientCrashes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := simulate(t, looptest.Config{})
		c := s.dial(t)
		io.WriteString(c, "ECHO hello\n")
		expect(t, bufio.NewReader(c), "hello")
		s.client.Crash()
		if line := <-s.log; !strings.Contains(line, syscall.ETIMEDOUT.Error()) {
			t.Errorf("logged %q, want the error of keep-alive", line)
		}
		if n := s.open(); n != 0 {
			t.Errorf("the server has %d connections", n)
		}
	})
}

// Out of descriptors, the server serves the clients that it has, and the next one as soon as one leaves.
func TestOutOfDescriptors(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := simulate(t, looptest.Config{})
		s.server.SetMaxDescriptors(s.server.Descriptors() + 1)
		first, second := s.dial(t), s.dial(t) // the kernel completes the second connection, too
		io.WriteString(second, "ECHO second\n")
		second.SetReadDeadline(time.Now().Add(time.Minute))
		if b, err := io.ReadAll(second); len(b) > 0 || !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("without a descriptor: got %q, %v", b, err)
		}
		io.WriteString(first, "ECHO first\nQUIT\n")
		expect(t, bufio.NewReader(first), "first")
		first.Close()
		second.SetReadDeadline(time.Now().Add(5 * time.Second)) // the server tries again from time to time
		expect(t, bufio.NewReader(second), "second")
	})
}

// Shutdown lets a session finish the command in progress, however slowly its client reads; idle
// sessions end at once.
func TestSimulatedShutdown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := simulate(t, looptest.Config{}, sock.WriteBuffer(8<<10))
		busy, idle := s.dial(t), s.dial(t)
		busy.SetReadBuffer(8 << 10)
		io.WriteString(busy, "COUNT 100000\n")
		r := bufio.NewReader(busy)
		expect(t, r, "1")

		begin, ended := time.Now(), make(chan error, 1)
		go func() { ended <- s.group.Shutdown(context.Background()) }()
		if after := timeUntilClosed(t, idle); after != 0 {
			t.Errorf("an idle session ended %v after Shutdown", after)
		}
		idle.Close()
		for i := 2; i <= 100_000; i++ {
			if i%1000 == 0 {
				time.Sleep(time.Second)
			}
			expect(t, r, fmt.Sprint(i))
		}
		if rest, err := io.ReadAll(r); len(rest) > 0 || err != nil {
			t.Errorf("after the answer: %q, %v; want EOF", rest, err)
		}
		busy.Close()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		if after := time.Since(begin).Round(10 * time.Millisecond); after != 100*time.Second {
			t.Errorf("Shutdown returned after %v, want 100 s, as long as the client has read", after)
		}
	})
}

// Shutdown cuts off a client that does not read, when its context ends.
func TestShutdownCutsOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := simulate(t, looptest.Config{}, sock.WriteBuffer(8<<10))
		c := s.dial(t)
		c.SetReadBuffer(8 << 10)
		io.WriteString(c, "COUNT 1000000\n")
		time.Sleep(time.Second)
		ctx, cancel := context.WithTimeout(context.Background(), drainTime)
		defer cancel()
		begin := time.Now()
		var cut *loop.ShutdownError
		if err := s.group.Shutdown(ctx); !errors.As(err, &cut) || cut.Conns != 1 {
			t.Errorf("Shutdown returned %v, want that one connection was aborted", err)
		}
		if after := time.Since(begin).Round(10 * time.Millisecond); after != drainTime {
			t.Errorf("Shutdown returned after %v, want %v", after, drainTime)
		}
		if _, err := io.ReadAll(c); !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("the client got %v, want ECONNRESET", err)
		}
	})
}

// Whatever the network and the kernel do with the stream, clients get the right answers. Each seed does
// something else.
func TestAdversity(t *testing.T) {
	for seed := range uint64(20) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := simulate(t, looptest.Config{
					Seed:      seed,
					Link:      looptest.Link{Latency: 10 * time.Millisecond, Jitter: 5 * time.Millisecond, RandomSegments: true, Loss: 0.02},
					Faults:    looptest.Faults{PartialReads: 0.3, PartialWrites: 0.3, WouldBlock: 0.2},
					Adversity: looptest.Adverse(),
				})
				for range 3 {
					c := s.dial(t)
					go func() {
						io.WriteString(c, commands)
						c.CloseWrite()
					}()
					if got, err := io.ReadAll(c); string(got) != answers || err != nil {
						t.Errorf("got %q, %v, want %q", got, err, answers)
					}
				}
			})
		})
	}
}
