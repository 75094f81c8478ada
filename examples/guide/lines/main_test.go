package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"log"
	"net"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/pollux-io/pollux/loop"
)

// patience bounds waits for what must happen soon.
const patience = time.Minute

type testClient struct {
	*net.TCPConn
	r *bufio.Reader
}

func (c testClient) expect(t *testing.T, want string) {
	t.Helper()
	expect(t, c.r, want)
}

// expect reads a line.
func expect(t *testing.T, r *bufio.Reader, want string) {
	t.Helper()
	if got, err := r.ReadString('\n'); err != nil || strings.TrimSuffix(got, "\n") != want {
		t.Fatalf("got %q, %v, want %q", got, err, want)
	}
}

func start(t *testing.T) (*loop.Group, testClient) {
	t.Helper()
	g, err := loop.NewGroup(config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { shutDown(t, g) })
	ln, err := g.Listen("tcp", "127.0.0.1:0", newSession)
	if err != nil {
		t.Fatal(err)
	}
	c, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() }) // before the group ends
	c.SetDeadline(time.Now().Add(patience))
	return g, testClient{c.(*net.TCPConn), bufio.NewReader(c)}
}

func shutDown(t *testing.T, g *loop.Group) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := g.Shutdown(ctx); err != nil {
		t.Error(err)
	}
}

// Pipelined commands are answered in order, however each is answered, also if the
// client has half-closed meanwhile.
func TestPipeline(t *testing.T) {
	_, c := start(t)
	io.WriteString(c, "ECHO one\r\nHASH x\nECHO two\nCOUNT 3\nCOUNT 0\nnonsense\nHASH x\nECHO last\n")
	c.CloseWrite()
	sum := hash([]byte("x"))
	for _, want := range []string{
		"one", sum, "two", "1", "2", "3", "error: COUNT takes a number from 1 to 1000000",
		`error: unknown command "nonsense"; use ECHO, HASH, COUNT, STATS or QUIT`, sum, "last",
	} {
		c.expect(t, want)
	}
	if rest, err := io.ReadAll(c.r); len(rest) > 0 || err != nil {
		t.Errorf("after the last answer: %q, %v; want EOF", rest, err)
	}
}

func TestSingleBytes(t *testing.T) {
	_, c := start(t)
	for _, b := range []byte("ECHO byte by byte\nQUIT\n") {
		c.Write([]byte{b})
	}
	c.expect(t, "byte by byte")
	if rest, err := io.ReadAll(c.r); len(rest) > 0 || err != nil {
		t.Errorf("after QUIT: %q, %v; want EOF", rest, err)
	}
}

func TestLineTooLong(t *testing.T) {
	for _, end := range []string{"", "\n"} {
		_, c := start(t)
		io.WriteString(c, "ECHO first\n"+strings.Repeat("x", maxLine+1)+end)
		c.expect(t, "first")
		c.expect(t, "error: the line is too long")
		if rest, err := io.ReadAll(c.r); len(rest) > 0 || err != nil {
			t.Errorf("after the error: %q, %v; want EOF", rest, err)
		}
	}
}

// A client that requests a long answer and does not read uses little memory, and gets
// everything once it reads.
func TestSlowReader(t *testing.T) {
	g, c := start(t)
	io.WriteString(c, "COUNT 1000000\nECHO end\n")
	most := 0
	for i := 1; i <= maxCount; i++ {
		c.expect(t, fmt.Sprint(i))
		if i%100_000 == 0 {
			for _, l := range g.Stats().Loops {
				most = max(most, l.UnsentBytes)
			}
		}
	}
	c.expect(t, "end")
	if most > highWatermark+16 {
		t.Errorf("%d bytes were unsent, want at most the high watermark, %d", most, highWatermark)
	}
}

// logLines receives the lines of the log.
type logLines chan string

func (l logLines) Write(b []byte) (int, error) {
	l <- string(b)
	return len(b), nil
}

// The log names the peer that has reset a connection.
func TestReset(t *testing.T) {
	_, c := start(t)
	lines := make(logLines, 10)
	log.SetOutput(lines)
	t.Cleanup(func() { log.SetOutput(os.Stderr) })
	io.WriteString(c, "ECHO hello\n")
	c.expect(t, "hello")
	c.SetLinger(0)
	c.Close()
	select {
	case line := <-lines:
		if !strings.Contains(line, " "+c.LocalAddr().String()+": ") {
			t.Errorf("logged %q, want the address %v", line, c.LocalAddr())
		}
	case <-time.After(patience):
		t.Error("the reset is not logged")
	}
}

// mainEnv makes TestArgument run main.
const mainEnv = "LINES_TEST_MAIN"

func TestArgument(t *testing.T) {
	if os.Getenv(mainEnv) != "" {
		os.Args = []string{"lines", "--listen", "nonsense", "extra"}
		main()
		return
	}
	cmd := exec.Command(os.Args[0], "-test.run=^TestArgument$")
	cmd.Env = append(os.Environ(), mainEnv+"=1")
	if out, err := cmd.CombinedOutput(); err == nil || !strings.Contains(string(out), `unexpected argument "extra"`) {
		t.Errorf("got %v, want an error about the argument\n%s", err, out)
	}
}

func TestStats(t *testing.T) {
	_, c := start(t)
	io.WriteString(c, "STATS\n")
	const want = "1 open, 1 accepted, 6 bytes in, 0 out, 0 unsent; slow callbacks: "
	if got, err := c.r.ReadString('\n'); err != nil || !strings.HasPrefix(got, want) {
		t.Errorf("got %q, %v, want %q…", got, err, want)
	}
}

// Commands that were received before Shutdown are answered.
func TestShutdown(t *testing.T) {
	g, c := start(t)
	io.WriteString(c, "ECHO ready\nHASH x\n")
	c.expect(t, "ready")
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		shutDown(t, g)
	}()
	c.expect(t, hash([]byte("x")))
	if rest, err := io.ReadAll(c.r); len(rest) > 0 || err != nil {
		t.Errorf("after the last answer: %q, %v; want EOF", rest, err)
	}
	c.Close()
	<-ended
}
