package tlsengine

import (
	"bytes"
	"crypto/tls"
	"errors"
	"reflect"
	"runtime"
	"strings"
	"testing"

	"github.com/pollux-io/pollux/internal/testkit"

	"github.com/pollux-io/pollux/internal/tlsengine/tlstest"
)

func TestLayoutIsRefusedIfNamesOrTypesDiffer(t *testing.T) {
	type (
		renamed struct {
			raw   bytes.Buffer
			input bytes.Reader
			hand  bytes.Buffer
		}
		pointer struct {
			rawInput *bytes.Buffer
			input    bytes.Reader
			hand     bytes.Buffer
		}
		otherType struct {
			rawInput bytes.Buffer
			input    bytes.Buffer
			hand     bytes.Buffer
		}
		embedded struct{ otherType }
		complete struct {
			_        int
			hand     bytes.Buffer
			input    bytes.Reader
			rawInput bytes.Buffer
		}
	)
	var b bytes.Buffer
	var r bytes.Reader
	for _, v := range []any{renamed{b, r, b}, pointer{&b, r, b}, otherType{b, b, b}, embedded{otherType{b, b, b}}, 0} {
		if _, err := layoutOf(reflect.TypeOf(v)); err == nil {
			t.Errorf("%T is taken", v)
		}
	}
	l, err := layoutOf(reflect.TypeOf(complete{0, b, r, b}))
	if f, _ := reflect.TypeFor[complete]().FieldByName("rawInput"); err != nil || l.rawInput != f.Offset || l.hand == l.input || l.rawInput <= l.input {
		t.Errorf("%+v, %v", l, err)
	}
}

func TestSelfCheckFailsIfTheFieldsAreOthers(t *testing.T) {
	reason := errors.New("another Go")
	if err := selfCheck(reason); err != reason {
		t.Errorf("%v", err)
	}
	if !testkit.InChild(t) { // the offsets are changed
		return
	}
	offsets.rawInput, offsets.hand = offsets.hand, offsets.rawInput
	if err := selfCheck(nil); err == nil || !strings.Contains(err.Error(), "self-check") {
		t.Errorf("rawInput and hand are exchanged: %v", err)
	}
}

func TestTheFallBackIsUsedIfTheSelfCheckFails(t *testing.T) {
	if !testkit.InChild(t) { // the result is kept
		return
	}
	reason := errors.New("another Go")
	check.once.Do(func() { check.err = reason })
	if m, err := CurrentMode(); m != Copying || err != reason {
		t.Fatalf("%v, %v", m, err)
	}
	server, client := tlstest.Configs(tls.VersionTLS13)
	s, c, err := pair(Options{Config: server}, Options{Config: client})
	if err != nil || s.Mode() != Copying || c.Mode() != Copying {
		t.Fatal(err)
	}
	records, err := s.Send(nil, []byte("message"))
	if err != nil {
		t.Fatal(err)
	}
	if got, err := c.receiveAll(records); err != nil || string(got) != "message" {
		t.Fatalf("%q, %v", got, err)
	}
}

func TestWithin(t *testing.T) {
	b := make([]byte, 10, 20)
	for _, test := range []struct {
		b    []byte
		want bool
	}{{b, true}, {b[9:], true}, {b[:1], true}, {b[:11], false}, {b[10:11], false}, {b[:0], false}, {nil, false}, {make([]byte, 1), false}} {
		if got := within(test.b, b); got != test.want {
			t.Errorf("%v, want %v", got, test.want)
		}
	}
	if within(b[:1], b[1:]) {
		t.Error("before the memory")
	}
}

func TestFIPS140OnlyHasTheSameModeAndTraffic(t *testing.T) {
	if !testkit.IsChild() {
		t.Setenv("GODEBUG", "fips140=only")
	}
	if !testkit.InChild(t) {
		return
	}
	if m, err := CurrentMode(); m != InPlace {
		t.Fatalf("%v: %v", m, err)
	}
	server, client := tlstest.Configs(tls.VersionTLS13)
	client.CurvePreferences = nil
	for _, mode := range []Mode{InPlace, Copying} {
		s, c, err := pair(Options{Config: server, mode: mode}, Options{Config: client, mode: mode})
		if err != nil {
			t.Fatal(err)
		}
		for _, way := range [][2]*Conn{{s, c}, {c, s}} {
			records, err := way[0].Send(nil, bytes.Repeat([]byte("x"), 50000))
			if err != nil {
				t.Fatal(err)
			}
			if got, err := way[1].receiveAll(records); err != nil || len(got) != 50000 {
				t.Fatalf("%d bytes, %v", len(got), err)
			}
		}
	}
}

// heapBytes returns the memory in use after garbage collection.
func heapBytes() int64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.GC() // sync.Pool keeps what was used before the last one
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc + m.StackInuse)
}

// TestAnIdleConnHoldsNoRecordBuffers: after the handshake, and after full records in both directions.
func TestAnIdleConnHoldsNoRecordBuffers(t *testing.T) {
	if testkit.Race {
		t.Skip("skipped: the race detector's memory is counted, too")
	}
	const pairs, most = 150, 3600
	for _, mode := range []Mode{InPlace, Copying} {
		server, client := tlstest.Configs(tls.VersionTLS13)
		server.DynamicRecordSizingDisabled, client.DynamicRecordSizingDisabled = true, true
		var conns [2 * pairs]*Conn
		if _, _, err := pair(Options{Config: server, mode: mode}, Options{Config: client, mode: mode}); err != nil {
			t.Fatal(err)
		}
		before := heapBytes()
		for i := 0; i < len(conns); i += 2 {
			var err error
			if conns[i], conns[i+1], err = pair(Options{Config: server, mode: mode}, Options{Config: client, mode: mode}); err != nil {
				t.Fatal(err)
			}
		}
		fresh := (heapBytes() - before) / int64(len(conns))
		data := make([]byte, MaxPlaintextBytes)
		var records []byte
		for i := range conns {
			records, _ = conns[i].Send(records[:0], data)
			if got, err := conns[i^1].receiveAll(records); err != nil || len(got) != len(data) {
				t.Fatalf("%d bytes, %v", len(got), err)
			}
		}
		used := (heapBytes() - before) / int64(len(conns))
		runtime.KeepAlive(&conns)
		t.Logf("%v: %d bytes a connection after the handshake, %d after a full record", mode, fresh, used)
		if mode == InPlace && (fresh > most || used > most) {
			t.Errorf("%d and %d bytes a connection, at most %d are expected", fresh, used, most)
		}
		if mode == Copying && used < 2*most {
			t.Errorf("%d bytes with buffers: the measurement finds nothing", used)
		}
	}
}
