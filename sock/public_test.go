package sock_test

import (
	"reflect"
	"testing"

	"github.com/pollux-io/pollux/internal/testkit"
	"github.com/pollux-io/pollux/sock"
)

// No exported method or field leads to a descriptor's internals.
func TestNothingInternalIsPublic(t *testing.T) {
	testkit.CheckPublic(t, []reflect.Type{
		reflect.TypeFor[sock.Descriptor](), reflect.TypeFor[sock.Stream](), reflect.TypeFor[sock.TCPStream](), reflect.TypeFor[sock.TCPListener](),
		reflect.TypeFor[sock.UDPSocket](), reflect.TypeFor[sock.UnixStream](), reflect.TypeFor[sock.UnixListener](), reflect.TypeFor[sock.UnixDatagram](),
		reflect.TypeFor[sock.PipeReader](), reflect.TypeFor[sock.PipeWriter](), reflect.TypeFor[sock.FD](), reflect.TypeFor[sock.Message](),
	}, nil)
}
