package netconn_test

import (
	"reflect"
	"testing"

	"github.com/pollux-io/pollux/internal/testkit"
	"github.com/pollux-io/pollux/netconn"
)

// No exported method or field leads to the internals of this package.
func TestNothingInternalIsPublic(t *testing.T) {
	testkit.CheckPublic(t, []reflect.Type{
		reflect.TypeFor[netconn.Listener](), reflect.TypeFor[netconn.Conn](), reflect.TypeFor[netconn.TLSConn](), reflect.TypeFor[netconn.PacketConn](), reflect.TypeFor[netconn.Dialer](), reflect.TypeFor[netconn.ListenConfig](),
	}, nil)
}
