package looptest_test

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pollux-io/pollux/internal/testkit"
	"github.com/pollux-io/pollux/loop"
	"github.com/pollux-io/pollux/loop/looptest"
	"github.com/pollux-io/pollux/sock"
)

// What a test leaves open is an error that names it. What it has closed is not reported.
func TestLeaks(t *testing.T) {
	testkit.CheckLeaks(t)
	for what, x := range map[string]struct {
		leave func(t testing.TB, h *looptest.Host)
		want  []string // "": no error
	}{
		"nothing": {func(t testing.TB, h *looptest.Host) {
			ln, err := h.Listen("tcp", ":80")
			noError(t, err)
			c, err := h.Dial("tcp", "127.0.0.1:80")
			noError(t, err)
			p, err := h.ListenPacket("udp", ":0")
			noError(t, err)
			ln.Close()
			c.Close()
			p.Close()
			h.NewGroup(loop.Config{}).Listen("tcp", ":80", echoes)
		}, nil},
		"a listener": {func(t testing.TB, h *looptest.Host) {
			_, err := h.Listen("tcp", ":80")
			noError(t, err)
		}, []string{"10.0.0.1", "tcp", ":80"}},
		"a UDP socket": {func(t testing.TB, h *looptest.Host) {
			_, err := h.ListenPacket("udp", ":90")
			noError(t, err)
		}, []string{"10.0.0.1", "udp", ":90"}},
		"a socket of package sock": {func(t testing.TB, h *looptest.Host) {
			_, err := sock.ListenUnix("name", sock.OnNetwork(h))
			noError(t, err)
		}, []string{"10.0.0.1", "unix", "name"}},
	} {
		t.Run(what, func(t *testing.T) {
			var failed bool
			var log string
			synctest.Test(t, func(*testing.T) {
				failed, log = record(func(t testing.TB) { x.leave(t, looptest.New(t, looptest.Config{}).Host()) })
			})
			if failed != (x.want != nil) {
				t.Errorf("the test has failed: %v\n%s", failed, log)
			}
			for _, want := range x.want {
				if !strings.Contains(log, want) {
					t.Errorf("the log does not contain %q:\n%s", want, log)
				}
			}
		})
	}
}

// A group that is not shut down is an error, too. Its loops end with the network.
func TestLeakedGroup(t *testing.T) {
	bubble(t, func(t *testing.T) {
		failed, log := record(func(t testing.TB) {
			_, err := loop.NewGroup(loop.Config{Network: looptest.New(t, looptest.Config{}).Host(), Loops: 3, Logger: slog.New(slog.DiscardHandler)})
			noError(t, err)
		})
		if !failed || !strings.Contains(log, "a group with 3 loops") {
			t.Errorf("the test has failed: %v\n%s", failed, log)
		}
	})
}

// A failed test logs the seed, how to repeat it, and the trace, with the lines of Tracef and of the
// group's logger.
func TestFailureReport(t *testing.T) {
	for _, manual := range []bool{false, true} {
		failed, log := record(func(t testing.TB) {
			n := looptest.New(t, looptest.Config{Seed: 4711, Manual: manual})
			peer := n.Pipe(loop.Config{}, func(*loop.Conn) loop.Handler { panic("so that it is logged") })
			peer.Read(make([]byte, 1))
			n.Tracef("the answer is %d", 42)
			t.Errorf("a failure")
		})
		for _, want := range []string{"4711", "POLLUX_SEED=4711", "-run '^TestRecorded$'", "SYN", "10.0.0.1:1", "the answer is 42", "so that it is logged"} {
			if !failed || !strings.Contains(log, want) {
				t.Errorf("the log of a failed test does not contain %q:\n%s", want, log)
			}
		}
		if strings.Contains(log, "open on the host") {
			t.Errorf("a failed test reports leaks:\n%s", log)
		}
	}
}

// SeedEnv overrides Config.Seed.
func TestSeedFromEnvironment(t *testing.T) {
	for value, want := range map[string]uint64{"": 3, "0": 0, "12": 12, "0xff": 255, "18446744073709551615": 1<<64 - 1} {
		t.Setenv(looptest.SeedEnv, value)
		if got := looptest.New(t, looptest.Config{Seed: 3}).Seed(); got != want {
			t.Errorf("%s=%s: the seed is %d, want %d", looptest.SeedEnv, value, got, want)
		}
	}
	for _, value := range []string{"-1", "x", "1e3", "18446744073709551616"} {
		t.Setenv(looptest.SeedEnv, value)
		failed, log := record(func(t testing.TB) { looptest.New(t, looptest.Config{}) })
		if !failed || !strings.Contains(log, looptest.SeedEnv) || !strings.Contains(log, value) {
			t.Errorf("%s=%s: the test has failed: %v: %s", looptest.SeedEnv, value, failed, log)
		}
	}
}

// A run in a bubble depends on nothing but the seed.
func TestSameSeedSameTrace(t *testing.T) {
	trace := func(seed uint64) (trace string) {
		synctest.Test(t, func(t *testing.T) {
			trace = busyNetwork(t, seed)
		})
		return trace
	}
	first := trace(1)
	for range 10 {
		if again := trace(1); again != first {
			t.Fatalf("two runs with one seed differ:\n%s", difference(first, again))
		}
	}
	if trace(2) == first {
		t.Error("runs with two seeds are the same")
	}
	if lines := strings.Count(first, "\n"); lines < 100 {
		t.Errorf("the trace has %d lines, want at least 100", lines)
	}
}

// difference returns the first lines that differ.
func difference(a, b string) string {
	x, y := strings.Split(a, "\n"), strings.Split(b, "\n")
	for i := range min(len(x), len(y)) {
		if x[i] != y[i] {
			return strings.Join(x[max(0, i-5):i+1], "\n") + "\ninstead of the last line:\n" + y[i]
		}
	}
	return "one is longer"
}

func noError(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// A test that waits in vain fails after Config.MaxTime, though the connection's keep-alive goes on for ever.
func TestMaxTime(t *testing.T) {
	testkit.CheckLeaks(t)
	for _, x := range []struct {
		config looptest.Config
		sleep  time.Duration
		fails  bool
	}{
		{config: looptest.Config{MaxTime: time.Hour}, fails: true},
		{config: looptest.Config{MaxTime: time.Hour}, sleep: 59 * time.Minute},
		{config: looptest.Config{}, sleep: 47 * time.Hour},
		{config: looptest.Config{MaxTime: -1}, sleep: 49 * time.Hour},
	} {
		synctest.Test(t, func(t *testing.T) {
			var err error
			begin := time.Now()
			failed, log := record(func(t testing.TB) {
				peer := looptest.New(t, x.config).Pipe(loop.Config{}, echoes)
				if x.sleep > 0 {
					time.Sleep(x.sleep)
					return
				}
				_, err = peer.Read(make([]byte, 1))
			})
			if failed != x.fails || failed && !strings.Contains(log, "1h0m0s of its time (Config.MaxTime)") {
				t.Errorf("%+v: the test has failed: %v\n%s", x, failed, log)
			}
			if after := time.Since(begin); failed && (!errors.Is(err, net.ErrClosed) || after < time.Hour || after > time.Hour+time.Minute) {
				t.Errorf("Read returned %v after %v, want net.ErrClosed after an hour", err, after)
			}
		})
	}
}

// The command that repeats a failed subtest selects it and no other: each part of its name is matched as a whole.
func TestRepeatSubtest(t *testing.T) {
	_, log := record(func(t testing.TB) {
		looptest.New(subtest{t}, looptest.Config{}).Tracef("something")
		t.Errorf("a failure")
	})
	if want := `-run '^TestRecorded$/^seed_1\.5$/^a$'`; !strings.Contains(log, want) {
		t.Errorf("the log does not contain %q:\n%s", want, log)
	}
}

type subtest struct{ testing.TB }

func (subtest) Name() string { return "TestRecorded/seed_1.5/a" }

// The stack of a panic has lines of its own in the trace, and the end of the test is marked before the
// segments that it causes.
func TestTraceOfPanic(t *testing.T) {
	bubble(t, func(t *testing.T) {
		_, log := record(func(t testing.TB) {
			peer := looptest.Pipe(t, func(*loop.Conn) loop.Handler { return panics{} })
			io.WriteString(peer, "x")
			time.Sleep(time.Second)
			t.Errorf("a failure")
		})
		for _, want := range []string{"panic=oops stack:\ngoroutine ", "\nruntime/debug.Stack()\n\t"} {
			if !strings.Contains(log, want) {
				t.Errorf("the log does not contain %q:\n%s", want, log)
			}
		}
		_, after, ended := strings.Cut(log, "the test has ended")
		if !ended || !strings.Contains(after, "10.0.0.2:32768→10.0.0.1:1 FIN") {
			t.Errorf("the log does not have the end of the test before the peer's FIN:\n%s", log)
		}
	})
}

type panics struct{}

func (panics) Data(*loop.Conn, []byte) (int, error) { panic("oops") }

// A network that is used in a bubble in which it was not made would end the test with a deadlock.
func TestNetworkOfAnotherBubble(t *testing.T) {
	n := looptest.New(t, looptest.Config{})
	manual := looptest.New(t, looptest.Config{Manual: true})
	bubble(t, func(t *testing.T) {
		manual.Host()
		defer func() {
			if v := fmt.Sprint(recover()); !strings.Contains(v, "call New in the function given to synctest.Test") {
				t.Errorf("Host panicked with %s", v)
			}
		}()
		n.Host()
	})
}
