package fetch

import (
	"errors"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/pollux-io/pollux/cmd/pollux/internal/faultserver"
	"github.com/pollux-io/pollux/sock"
)

// connectionsHeld fill a queue of one: Linux holds one more than the backlog.
const connectionsHeld = 4

// A server whose queue is full drops attempts to connect: only the timeout ends
// them.
func TestConnectTimeout(t *testing.T) {
	b := newBench(t)
	b.Connect = 20 * time.Millisecond
	ln, err := sock.ListenTCP(netip.MustParseAddrPort("127.0.0.1:0"), sock.Backlog(1))
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	for range connectionsHeld {
		c, err := sock.ConnectTCP(ln.Addr())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
	}
	r := b.run(t, "http://"+ln.Addr().String()+"/")[0]
	if r.Err == nil || !strings.Contains(r.Err.Error(), "no answer in time") || r.Took < b.Connect {
		t.Errorf("error %v after %v", r.Err, r.Took)
	}
}

// urlEnv makes TestDescriptorsRunOut the client, in a process of its own, so that
// the server does not run out of descriptors as well.
const urlEnv = "POLLUX_TEST_URL"

// When descriptors run out, transfers wait for those that have one, and all
// succeed, without using up their retries.
func TestDescriptorsRunOut(t *testing.T) {
	const descriptors, transfers = 40, 100
	if url := os.Getenv(urlEnv); url != "" {
		b := newBench(t)
		limit := unix.Rlimit{Cur: descriptors, Max: descriptors}
		if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
			t.Fatal(err)
		}
		for _, r := range b.run(t, slices.Repeat([]string{url}, transfers)...) {
			if r.Err != nil || r.Tries != 1 {
				t.Errorf("%d: %v after %d tries", r.Job.Index, r.Err, r.Tries)
			}
		}
		return
	}

	// The server sends no answer until it has half as many connections as the client can have.
	var crowd sync.WaitGroup
	crowd.Add(descriptors / 2)
	var n atomic.Int32
	s := faultserver.Answer(t, func(c *net.TCPConn, _ *http.Request) {
		if n.Add(1) <= descriptors/2 {
			crowd.Done()
		}
		crowd.Wait()
		io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi")
	})
	client := exec.Command(os.Args[0], "-test.run=^TestDescriptorsRunOut$")
	client.Env = append(os.Environ(), urlEnv+"="+s.URL("/"))
	if out, err := client.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

// A link-local address without a zone is reported as such.
func TestMissingZoneIsReported(t *testing.T) {
	r := newBench(t).run(t, "http://[fe80::1]:9/")[0]
	const want = "connect to [fe80::1]:9: invalid argument: fe80::1 is link-local: name its interface, as in fe80::1%eth0; in a URL write the % as %25"
	if errors.Is(r.Err, unix.EAFNOSUPPORT) {
		t.Skip("skipped: this machine has no IPv6")
	}
	if r.Err == nil || r.Err.Error() != want {
		t.Errorf("%v, want %s", r.Err, want)
	}
}
