package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"github.com/pollux-io/pollux/cmd/pollux/internal/limits"
	"github.com/pollux-io/pollux/internal/sys"
	"github.com/pollux-io/pollux/internal/testkit"
)

const servePatience = testkit.Watchdog

// served is a running "pollux serve" in this process.
type served struct {
	line   string
	where  []string // addresses, without the network
	hangup *hangup  // as SIGHUP
	cancel context.CancelCauseFunc
	status chan int
	err    *testkit.Buffer
}

var addresses = regexp.MustCompile(`(?:tcp|tls|udp|unix|https?)://[^\s,;]+`)

// startServe starts "pollux serve" and waits for its line on standard output.
func startServe(t *testing.T, args ...string) *served {
	t.Helper()
	testkit.CheckLeaks(t)
	ctx, cancel := context.WithCancelCause(context.Background())
	r, w := io.Pipe()
	s := &served{hangup: &hangup{}, cancel: cancel, status: make(chan int, 1), err: &testkit.Buffer{}}
	go func() {
		status := run(withHangup(ctx, s.hangup), append([]string{"serve"}, args...), streams{strings.NewReader(""), w, s.err})
		w.Close()
		s.status <- status
	}()
	t.Cleanup(func() { s.end() })
	out := bufio.NewReader(r)
	line, err := out.ReadString('\n')
	if err != nil {
		t.Fatalf("no line on standard output: %v\n%s", err, s.err)
	}
	s.line = line
	for _, u := range addresses.FindAllString(line, -1) {
		_, at, _ := strings.Cut(u, "://")
		s.where = append(s.where, at)
	}
	return s
}

// stop interrupts the server.
func (s *served) stop() { s.cancel(signalled{os.Interrupt}) }

// hangUp does what SIGHUP does, and reports whether that is anything else than to end the server.
func (s *served) hangUp() bool {
	s.hangup.mu.Lock()
	use := s.hangup.use
	s.hangup.mu.Unlock()
	if use != nil {
		use()
	}
	return use != nil
}

// end stops the server and returns its exit status. It may be called again.
func (s *served) end() int {
	s.stop()
	status := <-s.status
	s.status <- status
	return status
}

func connect(t *testing.T, network, at string) net.Conn {
	t.Helper()
	c, err := net.Dial(network, at)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(servePatience))
	return c
}

// halfClose sends FIN.
func halfClose(t *testing.T, c net.Conn) {
	t.Helper()
	if err := c.(interface{ CloseWrite() error }).CloseWrite(); err != nil {
		t.Fatal(err)
	}
}

// exchange sends b and FIN, and returns the bytes received until the peer's FIN.
func exchange(t *testing.T, c net.Conn, b []byte) []byte {
	t.Helper()
	go func() {
		c.Write(b)
		c.(interface{ CloseWrite() error }).CloseWrite()
	}()
	got, err := io.ReadAll(c)
	if err != nil {
		t.Error(err)
	}
	return got
}

// noise returns n bytes of a pseudorandom sequence.
func noise(n int) []byte {
	b := make([]byte, n)
	x := uint32(1)
	for i := range b {
		x = x*1664525 + 1013904223
		b[i] = byte(x >> 24)
	}
	return b
}

// checkText checks that b is chargen's text from the beginning.
func checkText(t *testing.T, b []byte) {
	t.Helper()
	const line = 74
	for i, c := range b {
		want := byte(' ' + (i/line+i%line)%95)
		switch i % line {
		case line - 2:
			want = '\r'
		case line - 1:
			want = '\n'
		}
		if c != want {
			t.Fatalf("byte %d is %q, want %q", i, c, want)
		}
	}
}

func TestServeStreams(t *testing.T) {
	for _, at := range []string{"127.0.0.1:0", "tcp://127.0.0.1:0", "tcp://[::1]:0", "unix://PATH"} {
		t.Run(strings.NewReplacer("/", "", ":", "").Replace(at), func(t *testing.T) {
			if strings.Contains(at, "[::1]") && !hasIPv6() {
				t.Skip("no IPv6")
			}
			if strings.HasPrefix(at, "unix") {
				testkit.SkipOnWine(t, "it has no Unix sockets")
			}
			network := "tcp"
			if strings.HasPrefix(at, "unix") {
				network = "unix"
				at = "unix://" + filepath.Join(t.TempDir(), "s")
			}
			data := noise(3 << 20)
			echo := startServe(t, "echo", "--listen", at, "--loops", "2")
			if got := exchange(t, connect(t, network, echo.where[0]), data); !bytes.Equal(got, data) {
				t.Errorf("echo: received %d bytes, want %d; or they differ", len(got), len(data))
			}
			if status := echo.end(); status != exitOK {
				t.Errorf("status %d\n%s", status, echo.err)
			}
			discard := startServe(t, "discard", "--listen", at)
			if got := exchange(t, connect(t, network, discard.where[0]), data); len(got) != 0 {
				t.Errorf("discard: received %d bytes, want none", len(got))
			}
			discard.end()
			chargen := startServe(t, "chargen", "--listen", at)
			c := connect(t, network, chargen.where[0])
			halfClose(t, c) // chargen continues nevertheless
			got := make([]byte, 2<<20)
			if _, err := io.ReadFull(c, got); err != nil {
				t.Error(err)
			}
			checkText(t, got)
		})
	}
}

func hasIPv6() bool {
	l, err := net.Listen("tcp", "[::1]:0")
	if err != nil {
		return false
	}
	l.Close()
	return true
}

// The line has the protocol, the addresses, the backend and the number of loops.
func TestServeLine(t *testing.T) {
	s := startServe(t, "echo", "-l", "127.0.0.1:0", "-l", "udp://127.0.0.1:0", "--loops", "1", "--metrics", "127.0.0.1:0")
	want := regexp.MustCompile(`^echo on tcp://127\.0\.0\.1:\d+, udp://127\.0\.0\.1:\d+ by [a-z]+, 1 loop; metrics on http://127\.0\.0\.1:\d+/metrics\n$`)
	if !want.MatchString(s.line) {
		t.Errorf("line %q, want a match of %v", s.line, want)
	}
}

func TestServeUDP(t *testing.T) {
	testkit.SkipOnWine(t, "Go's net, the client, cannot use UDP there (SIO_UDP_NETRESET)")
	const datagrams, few = 200, 10
	for _, protocol := range []string{"echo", "discard", "chargen"} {
		t.Run(protocol, func(t *testing.T) {
			s := startServe(t, protocol, "--listen", "udp://127.0.0.1:0", "--loops", "2", "--metrics", "127.0.0.1:0")
			c := connect(t, "udp", s.where[0])
			b := make([]byte, 64<<10)
			for i := range datagrams {
				sent := noise(i * 40)
				if _, err := c.Write(sent); err != nil {
					t.Fatal(err)
				}
				if protocol == "discard" {
					if i%few == few-1 { // the kernel's receive buffer might drop more
						waitFor(t, s, "pollux_messages_total", func(v float64) bool { return v == float64(i+1) })
					}
					continue
				}
				n, err := c.Read(b)
				if err != nil {
					t.Fatal(err)
				}
				if n != len(sent) || protocol == "echo" && !bytes.Equal(b[:n], sent) {
					t.Fatalf("datagram %d: received %d bytes, want %d; or they differ", i, n, len(sent))
				}
				if protocol == "chargen" {
					checkText(t, b[:n])
				}
			}
			waitFor(t, s, "pollux_messages_total", func(v float64) bool { return v == datagrams })
			bytes := float64(40 * datagrams * (datagrams - 1) / 2)
			if v := metric(t, s, "pollux_received_bytes_total"); v != bytes {
				t.Errorf("%v bytes received, want %v", v, bytes)
			}
			if v := metric(t, s, "pollux_sent_bytes_total"); v != bytes && protocol != "discard" {
				t.Errorf("%v bytes sent, want %v", v, bytes)
			}
		})
	}
}

// metrics fetches and parses the metrics, whose address is the last one.
func metrics(t *testing.T, s *served) map[string]*dto.MetricFamily {
	t.Helper()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: servePatience}
	r, err := client.Get("http://" + s.where[len(s.where)-1])
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	return families
}

// metric returns a metric, the sum over all loops.
func metric(t *testing.T, s *served, name string) (sum float64) {
	t.Helper()
	f := metrics(t, s)[name]
	if f == nil {
		t.Fatalf("no metric %s", name)
	}
	for _, m := range f.Metric {
		sum += m.GetCounter().GetValue() + m.GetGauge().GetValue()
	}
	return sum
}

// waitFor polls a metric until want returns true.
func waitFor(t *testing.T, s *served, name string, want func(float64) bool) {
	t.Helper()
	deadline := time.Now().Add(servePatience)
	for {
		v := metric(t, s, name)
		if want(v) {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s is still %v", name, v)
		}
	}
}

func TestServeMetrics(t *testing.T) {
	s := startServe(t, "echo", "-l", "127.0.0.1:0", "--loops", "2", "--metrics", "127.0.0.1:0")
	const conns = 6
	var open []net.Conn
	for range conns {
		c := connect(t, "tcp", s.where[0])
		c.Write(make([]byte, 100))
		if _, err := io.ReadFull(c, make([]byte, 100)); err != nil {
			t.Fatal(err)
		}
		open = append(open, c)
	}
	families := metrics(t, s)
	for _, name := range []string{
		"pollux_info", "pollux_connections", "pollux_unsent_bytes", "pollux_turns_total", "pollux_busy_seconds_total",
		"pollux_callback_seconds_total", "go_goroutines",
	} {
		if families[name] == nil {
			t.Errorf("no metric %s", name)
		}
	}
	if n := len(families["pollux_connections"].GetMetric()); n != 2 {
		t.Errorf("metrics of %d loops, want 2", n)
	}
	for name, want := range map[string]float64{
		"pollux_connections": conns, "pollux_accepted_total": conns, "pollux_messages_total": conns,
		"pollux_received_bytes_total": 100 * conns, "pollux_sent_bytes_total": 100 * conns,
	} {
		if got := metric(t, s, name); got != want {
			t.Errorf("%s is %v, want %v", name, got, want)
		}
	}
	for _, c := range open {
		c.Close()
	}
	waitFor(t, s, "pollux_connections", func(v float64) bool { return v == 0 })
}

// chargen stops while the peer does not read, and continues when it does.
func TestServeChargenBackPressure(t *testing.T) {
	s := startServe(t, "chargen", "-l", "127.0.0.1:0", "--metrics", "127.0.0.1:0")
	c := connect(t, "tcp", s.where[0])
	waitFor(t, s, "pollux_unsent_bytes", func(v float64) bool { return v > 0 })
	before := -1.0
	waitFor(t, s, "pollux_sent_bytes_total", func(v float64) bool { // the kernel is full
		same := v == before
		before = v
		return same
	})
	if v := metric(t, s, "pollux_unsent_bytes"); v > 512<<10 {
		t.Errorf("%v bytes are unsent to a peer that does not read, want at most %d", v, 512<<10)
	}
	got := make([]byte, 16<<20)
	if _, err := io.ReadFull(c, got); err != nil {
		t.Error(err)
	}
	checkText(t, got)
	c.Close()
}

// Thousands of simultaneous connections, as many as the limit allows: both ends of each are
// in this process.
func TestServeMany(t *testing.T) {
	const each, first, spare = 2, 4000, 64
	n := limits.Fit(first, each) - spare
	if sys.OnWine() {
		n = min(n, 400) // its sockets are ten times as slow, under the race detector too slow
	}
	if n < 100 {
		t.Skip("few descriptors")
	}
	s := startServe(t, "echo", "-l", "127.0.0.1:0", "--metrics", "127.0.0.1:0")
	conns := make([]net.Conn, 0, n)
	defer func() {
		for _, c := range conns {
			c.Close()
		}
	}()
	for range n {
		c, err := net.Dial("tcp", s.where[0])
		if err != nil {
			t.Fatal(err)
		}
		conns = append(conns, c)
	}
	for round := range 2 {
		for i, c := range conns {
			c.SetDeadline(time.Now().Add(servePatience))
			if _, err := c.Write([]byte{byte(i), byte(i >> 8), byte(round)}); err != nil {
				t.Fatal(err)
			}
		}
		for i, c := range conns {
			got := make([]byte, 3)
			if _, err := io.ReadFull(c, got); err != nil || !bytes.Equal(got, []byte{byte(i), byte(i >> 8), byte(round)}) {
				t.Fatalf("connection %d: %v %v", i, got, err)
			}
		}
	}
	if v := metric(t, s, "pollux_connections"); v != float64(n) {
		t.Errorf("%v connections, want %d", v, n)
	}
	// All connections are idle, so they are closed without waiting for --drain's 10 s.
	s.stop()
	for i, c := range conns {
		if _, err := c.Read(make([]byte, 1)); err != io.EOF {
			t.Fatalf("connection %d: %v", i, err)
		}
		c.Close()
	}
	if status := s.end(); status != exitOK {
		t.Errorf("status %d\n%s", status, s.err)
	}
}

// Data in transit when the server is stopped is delivered completely.
func TestServeDrains(t *testing.T) {
	s := startServe(t, "echo", "-l", "127.0.0.1:0")
	c := connect(t, "tcp", s.where[0])
	data := noise(24 << 20) // more than the kernel and the watermark hold
	first := make([]byte, 1000)
	go func() {
		c.Write(data)
		c.(*net.TCPConn).CloseWrite()
	}()
	if _, err := io.ReadFull(c, first); err != nil {
		t.Fatal(err)
	}
	s.stop()
	waitRefused(t, s.where[0])
	rest, err := io.ReadAll(c)
	if got := slices.Concat(first, rest); err != nil || !bytes.Equal(got, data) {
		t.Errorf("received %d bytes, want %d; or they differ: %v", len(got), len(data), err)
	}
	if status := s.end(); status != exitOK || !strings.Contains(s.err.String(), "have 10s to finish: ") {
		t.Errorf("status %d\n%s", status, s.err)
	}
}

// waitRefused waits until the server does not listen any more.
func waitRefused(t *testing.T, at string) {
	t.Helper()
	for deadline := time.Now().Add(servePatience); ; {
		c, err := net.Dial("tcp", at)
		if err != nil {
			return
		}
		c.Close()
		if time.Now().After(deadline) {
			t.Fatal("the stopped server still accepts connections")
		}
	}
}

// A connection whose peer does not read is aborted after --drain, and the exit status is
// exitFailed.
func TestServeDrainEnds(t *testing.T) {
	s := startServe(t, "chargen", "-l", "127.0.0.1:0", "--drain", "100ms", "--metrics", "127.0.0.1:0")
	connect(t, "tcp", s.where[0])
	waitFor(t, s, "pollux_unsent_bytes", func(v float64) bool { return v > 0 })
	if status := s.end(); status != exitFailed || !strings.Contains(s.err.String(), "closed 1 connection that did not finish within 100ms\n") {
		t.Errorf("status %d\n%s", status, s.err)
	}
}

func TestServeLimits(t *testing.T) {
	s := startServe(t, "echo", "-l", "127.0.0.1:0", "--max-conns", "1", "--refuse", "--idle-timeout", "300ms", "--busy-poll", "1ms")
	first := connect(t, "tcp", s.where[0])
	first.Write([]byte("x"))
	if _, err := io.ReadFull(first, make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	// The reset may arrive before net.Dial returns.
	if second, err := net.Dial("tcp", s.where[0]); err == nil {
		defer second.Close()
		second.SetDeadline(time.Now().Add(servePatience))
		if _, err := second.Read(make([]byte, 1)); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("the second connection: %v", err)
		}
	}
	if _, err := first.Read(make([]byte, 1)); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("the idle connection: %v", err)
	}
}

// Figures are printed as lines when something has changed, and not otherwise.
func TestServeFigures(t *testing.T) {
	s := startServe(t, "echo", "-l", "127.0.0.1:0", "--every", "10ms")
	c := connect(t, "tcp", s.where[0])
	for deadline := time.Now().Add(servePatience); !strings.Contains(s.err.String(), "pollux: 1 connection, 0 messages"); {
		if time.Now().After(deadline) {
			t.Fatalf("no line\n%s", s.err)
		}
		time.Sleep(time.Millisecond)
	}
	c.Close()
	s.end()
	err := s.err.String()
	if !strings.Contains(err, "pollux: served 1 connection, 0 messages, in 0 B, out 0 B, for ") || strings.Count(err, "\n") > 5 {
		t.Errorf("%s", err)
	}
	quiet := startServe(t, "echo", "-q", "-l", "127.0.0.1:0", "--every", "1ms")
	connect(t, "tcp", quiet.where[0]).Close()
	if quiet.end(); quiet.err.String() != "" {
		t.Errorf("quiet: %s", quiet.err)
	}
}

func TestServeTaken(t *testing.T) {
	s := startServe(t, "discard", "-l", "127.0.0.1:0", "-l", "udp://127.0.0.1:0")
	for i, network := range []string{"tcp", "udp"} {
		status, out, err := pollux(t, "", "serve", "echo", "--listen", network+"://"+s.where[i])
		if status != exitFailed || out != "" || strings.Count(err, "\n") != 1 || !strings.Contains(err, "; another program, or another --listen, uses it") {
			t.Errorf("status %d\n%s%s", status, out, err)
		}
	}
	if runtime.GOOS == "windows" {
		return // there, package net's errors need no explanation
	}
	status, _, err := pollux(t, "", "serve", "echo", "-l", "127.0.0.1:0", "--metrics", s.where[0])
	if status != exitFailed || !strings.Contains(err, "serve metrics: ") || !strings.Contains(err, "; another program, or another --listen, uses it") {
		t.Errorf("metrics: status %d, %s", status, err)
	}
}

func TestServeUsage(t *testing.T) {
	for _, c := range []struct {
		args   string
		status int
		want   string
	}{
		{"", exitUsage, "serve: the protocol is missing: give echo, discard, chargen or http; write pollux serve echo"},
		{"nonsense", exitUsage, "serve nonsense: unknown protocol: give echo, discard, chargen or http"},
		{"echo nonsense", exitUsage, "unexpected argument nonsense; pollux serve --help shows the usage"},
		{"echo --listen nonsense", exitUsage, "write it like"},
		{"echo --listen ftp://127.0.0.1:1", exitUsage, `unknown network "ftp"`},
		{"echo --listen 127.0.0.1:70000", exitUsage, "65535"},
		{"echo --listen example.org:80", exitUsage, "give an IP address"},
		{"echo --listen unix://", exitUsage, "no path"},
		{"echo --loops=-1", exitUsage, "--loops -1"},
		{"echo --loops 2000", exitUsage, "--loops 2000"},
		{"echo --max-conns=-1", exitUsage, "--max-conns -1"},
		{"echo --refuse", exitUsage, "needs --max-conns"},
		{"echo --idle-timeout=-1s", exitUsage, "--idle-timeout -1s"},
		{"echo --drain=-1s", exitUsage, "--drain -1s"},
		{"echo --every=-1s", exitUsage, "--every -1s"},
		{"echo --busy-poll 1h", exitUsage, "--busy-poll 1h"},
		{"echo --metrics nonsense", exitUsage, "--metrics"},
		{"echo --backend nonsense", exitUsage, "--backend nonsense: this build has "},
		{"http", exitUsage, "serve http: the directory is missing; write pollux serve http /srv/www"},
		{"http . nonsense", exitUsage, "unexpected argument nonsense; pollux serve --help shows the usage"},
		{"http . --listen udp://127.0.0.1:0", exitUsage, "http needs TCP or Unix sockets; write --listen tcp://127.0.0.1:0"},
		{"echo --list", exitUsage, "--list is for http; write pollux serve http DIR --list"},
		{"echo --hidden", exitUsage, "--hidden is for http"},
		{"http . --tls-cert x", exitUsage, "--tls-cert needs --tls-key"},
		{"echo --tls-self-signed -l udp://127.0.0.1:0", exitUsage, "TLS needs TCP or Unix sockets"},
		{"http . --tls-key x", exitUsage, "--tls-key needs --tls-cert"},
		{"http . --tls-self-signed --tls-cert x --tls-key y", exitUsage, "--tls-self-signed makes a certificate"},
		{"http /no/such/folder -l 127.0.0.1:0", exitFailed, "serve /no/such/folder: "},
		{"http . --tls-cert /no/such/cert --tls-key /no/such/key", exitFailed, "read the certificate: open /no/such/cert: "},
		{"http . -l 192.0.2.1:1", exitFailed, "; this machine has no such address"},
		{"echo -l 192.0.2.1:1", exitFailed, "; this machine has no such address"},
		{"echo --listen unix:///no/such/folder/s", exitFailed, "listen"},
		{"echo -l 127.0.0.1:0 --metrics 192.0.2.1:1", exitFailed, "serve metrics: listen tcp 192.0.2.1:1: "},
	} {
		t.Run(c.args, func(t *testing.T) {
			testkit.CheckLeaks(t)
			status, out, err := pollux(t, "", append([]string{"serve"}, strings.Fields(c.args)...)...)
			if status != c.status || out != "" || strings.Count(err, "\n") != 1 || !strings.Contains(err, c.want) {
				t.Errorf("status %d, want %d and one line with %q\n%s%s", status, c.status, c.want, out, err)
			}
		})
	}
}
