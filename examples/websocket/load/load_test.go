package main

import (
	"context"
	"encoding/binary"
	"math/rand/v2"
	"net"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pollux-io/pollux/examples/websocket/internal/websocket"
)

// Each of a few hundred clients gets each message once and in order, with one message in flight and
// with several, and Close 1001 when the server stops.
func TestHub(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("the server is stopped by os.Interrupt, which Windows cannot send to a process")
	}
	program := filepath.Join(t.TempDir(), "hub")
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-o", program, "github.com/pollux-io/pollux/examples/websocket").CombinedOutput(); err != nil {
		t.Fatalf("build the server: %v\n%s", err, out)
	}
	for _, inFlight := range []int{1, 10} {
		report, err := measure(t.Context(), program, options{clients: 200, broadcasts: 50, bytes: 128, inFlight: inFlight, loops: 2})
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(report, "10000 deliveries") {
			t.Errorf("the report is\n%s", report)
		}
		t.Log(report)
	}
}

// A client reports what a server must not do.
func TestClientFindsMistakes(t *testing.T) {
	message := func(n uint64, size int) websocket.Message {
		return websocket.Message{Opcode: websocket.Binary, Payload: binary.BigEndian.AppendUint64(make([]byte, 0, size), n)[:size]}
	}
	goodbye := websocket.Message{Opcode: websocket.Close, Code: 1001, Payload: []byte{3, 233}}
	for what, messages := range map[string][]websocket.Message{
		"a message is missing":      {message(1, 20)},
		"a message is too short":    {message(0, 19)},
		"Close comes too early":     {goodbye},
		"a message is not of a run": {message(1<<40, 20)},
	} {
		c := newClient(newRun(options{clients: 2, broadcasts: 2, bytes: 20, loops: 1}))
		if err := c.message(messages[0]); err == nil {
			t.Errorf("%s: no error", what)
		}
	}
}

// Arguments that cannot work are refused, with advice.
func TestOptions(t *testing.T) {
	good := options{clients: 1, broadcasts: 1, inFlight: 1, loops: 1, bytes: headBytes}
	if err := good.validate(); err != nil {
		t.Fatal(err)
	}
	for _, change := range []func(*options){
		func(o *options) { o.clients = 0 },
		func(o *options) { o.broadcasts = 0 },
		func(o *options) { o.inFlight = 0 },
		func(o *options) { o.loops = 0 },
		func(o *options) { o.bytes = headBytes - 1 },
		func(o *options) { o.bytes = maxBytes + 1 },
	} {
		o := good
		change(&o)
		if err := o.validate(); err == nil {
			t.Errorf("%+v is accepted", o)
		}
	}
	if limit := maxDescriptors(); limit > 0 {
		o := good
		o.clients = limit
		if err := o.validate(); err == nil || !strings.Contains(err.Error(), "ulimit") {
			t.Errorf("%d clients, with a limit of %d descriptors: %v", o.clients, limit, err)
		}
	}
}

// An address at which no server listens, or one of another protocol, is an error and not a wait.
func TestNoServer(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	l.Close()
	o := options{clients: 3, broadcasts: 1, inFlight: 1, loops: 1, bytes: headBytes, addr: addr}
	if report, err := measure(t.Context(), "", o); err == nil {
		t.Errorf("without a server, the report is\n%s", report)
	}
	if _, err := measure(t.Context(), filepath.Join(t.TempDir(), "none"), o); err == nil {
		t.Error("a program that does not exist is accepted")
	}
}

// When the context ends, a run reports how far it has come.
func TestTimeout(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0") // accepts nothing
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(10*time.Millisecond, cancel)
	_, err = measure(ctx, "", options{clients: 3, broadcasts: 1, inFlight: 1, loops: 1, bytes: headBytes, addr: l.Addr().String()})
	if err == nil || !strings.Contains(err.Error(), "0 of 3 clients") {
		t.Errorf("the error is %v", err)
	}
}

// A percentile is that of the sorted values, or at most a bin (1/16) above.
func TestHistogram(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for range 50 {
		var a, b histogram
		var values []time.Duration
		for i := range 1000 {
			v := time.Duration(random.Uint64() >> (2 + random.IntN(62)))
			values = append(values, v)
			if i%2 == 0 {
				a.record(v)
			} else {
				b.record(v)
			}
		}
		a.add(&b)
		slices.Sort(values)
		for _, p := range []float64{0.1, 1, 50, 90, 99, 99.9, 100} {
			exact := values[max(int(float64(len(values))*p/100)-1, 0)]
			if got := a.percentile(p); got < exact || got > exact+exact/16+1 {
				t.Fatalf("%v %% is %v, want %v", p, got, exact)
			}
		}
	}
	for _, v := range []time.Duration{0, 1, 15, 16, 17, 31, 32, 33, 1000, 1<<62 + 5, 1<<63 - 1} {
		if i := bin(v); upper(i) < v || i > 0 && upper(i-1) >= v {
			t.Errorf("%d is in bin %d, from %d to %d", v, i, upper(i-1)+1, upper(i))
		}
	}
}
