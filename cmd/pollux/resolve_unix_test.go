//go:build unix

package main

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/pollux-io/pollux/cmd/pollux/internal/nameserver"
	"github.com/pollux-io/pollux/dns"
)

// A signal ends the run: the answers that are there have been printed, and the exit status has the signal.
func TestResolveSignal(t *testing.T) {
	for _, sig := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM} {
		for _, flags := range [][]string{{}, {"--json"}, {"--trace"}} {
			begun := make(chan struct{}, 100)
			server := nameserver.Start(t, func(name string, typ dns.Type) nameserver.Reply {
				if name == "silent.test." {
					begun <- struct{}{}
				}
				return testZone(name, typ)
			}).String()
			c := program(t, append([]string{"resolve", "--server", server, "--type", "A", "both.test.", "silent.test."}, flags...)...)
			var stderr bytes.Buffer
			c.Stderr = &stderr
			stdout, err := c.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := c.Start(); err != nil {
				t.Fatal(err)
			}
			<-begun
			first, err := bufio.NewReader(stdout).ReadString('\n')
			c.Process.Signal(sig)
			c.Wait()
			if err != nil || !strings.Contains(first, "192.0.2.7") || c.ProcessState.ExitCode() != exitSignal+int(sig) ||
				!strings.HasPrefix(stderr.String(), "pollux: interrupted: 1 of 2 resolved in ") || strings.Count(stderr.String(), "\n") != 1 {
				t.Errorf("%v %v: status %v, %v\n%s%s", sig, flags, c.ProcessState, err, first, &stderr)
			}
		}
	}
}

// A program that writes names into a pipe gets each answer before it writes the next name.
func TestResolveAnswersBeforeTheListEnds(t *testing.T) {
	server := nameserver.Start(t, testZone).String()
	c := program(t, "resolve", "--server", server, "--type", "A", "--input", "-")
	in, err := c.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	r := bufio.NewReader(out)
	for i := range 10 {
		fmt.Fprintf(in, "n%d.many.\n", i)
		if line, err := r.ReadString('\n'); err != nil || !strings.Contains(line, manyAddress(fmt.Sprintf("n%d.many.", i))) {
			t.Fatalf("%q, %v", line, err)
		}
	}
	in.Close()
	if err := c.Wait(); err != nil {
		t.Error(err)
	}
}

// When the reader of the answers has gone, the program ends without a message, although the list has no
// end.
func TestResolveClosedPipe(t *testing.T) {
	server := nameserver.Start(t, testZone).String()
	c := program(t, "resolve", "--server", server, "--type", "A", "--input", "-")
	var names atomic.Int64
	c.Stdin = readerFunc(func(b []byte) (int, error) { return copy(b, fmt.Sprintf("n%d.many.\n", names.Add(1)%1000)), nil })
	var stderr bytes.Buffer
	c.Stderr = &stderr
	out, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	io.ReadFull(out, make([]byte, 100))
	out.Close()
	c.Wait()
	if c.ProcessState.ExitCode() != exitPipe || stderr.Len() != 0 {
		t.Errorf("status %v\n%s", c.ProcessState, &stderr)
	}
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(b []byte) (int, error) { return f(b) }
