package sock_test

import (
	"errors"
	"net/netip"
	"reflect"
	"testing"

	"github.com/pollux-io/pollux/sock"
)

// Every method of a zero value that returns an error returns ErrClosed for valid arguments, unless
// the system does not support the method, and the others return a zero value. SyscallConn's result
// returns ErrClosed.
func TestZeroValuesAreClosed(t *testing.T) {
	arguments := map[reflect.Type]any{
		reflect.TypeFor[int]():            1,
		reflect.TypeFor[netip.AddrPort](): netip.MustParseAddrPort("127.0.0.1:9"),
		reflect.TypeFor[netip.Addr]():     netip.MustParseAddr("224.0.0.99"),
		reflect.TypeFor[string]():         "@none",
		reflect.TypeFor[[]byte]():         []byte("x"),
		reflect.TypeFor[[][]byte]():       [][]byte{[]byte("x")},
		reflect.TypeFor[[]sock.Message](): []sock.Message{{Addr: netip.MustParseAddrPort("127.0.0.1:9")}},
		reflect.TypeFor[*sock.Stream]():   &sock.Stream{},
	}
	for _, zero := range []any{
		&sock.Stream{}, &sock.TCPStream{}, &sock.TCPListener{}, &sock.UDPSocket{}, &sock.UnixStream{}, &sock.UnixListener{},
		&sock.UnixDatagram{}, &sock.PipeReader{}, &sock.PipeWriter{}, &sock.FD{}, &sock.Descriptor{},
	} {
		v := reflect.ValueOf(zero)
		for i := range v.NumMethod() {
			name, m := v.Type().String()+"."+v.Type().Method(i).Name, v.Method(i)
			in := make([]reflect.Value, m.Type().NumIn())
			for k := range in {
				if a, ok := arguments[m.Type().In(k)]; ok {
					in[k] = reflect.ValueOf(a)
				} else {
					in[k] = reflect.Zero(m.Type().In(k))
				}
			}
			call := m.Call
			if m.Type().IsVariadic() {
				call = m.CallSlice
			}
			checkClosed(t, name, call(in))
		}
	}
}

func checkClosed(t *testing.T, name string, results []reflect.Value) {
	last := results[len(results)-1]
	if last.Type() != reflect.TypeFor[error]() {
		if !last.IsZero() {
			t.Errorf("%s of a zero value returned %v", name, last)
		}
		return
	}
	if raw, ok := results[0].Interface().(interface{ Control(func(uintptr)) error }); ok {
		if err := raw.Control(func(uintptr) {}); !errors.Is(err, sock.ErrClosed) {
			t.Errorf("%s: Control of a zero value returned %v, want ErrClosed", name, err)
		}
		return
	}
	err, _ := last.Interface().(error)
	if !errors.Is(err, sock.ErrClosed) && !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("%s of a zero value returned %v, want ErrClosed", name, err)
	}
}
