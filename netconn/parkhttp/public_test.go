package parkhttp_test

import (
	"reflect"
	"testing"

	"github.com/pollux-io/pollux/internal/testkit"
	"github.com/pollux-io/pollux/netconn"
	"github.com/pollux-io/pollux/netconn/parkhttp"
)

// No exported method or field leads to the internals of this package.
func TestNothingInternalIsPublic(t *testing.T) {
	testkit.CheckPublic(t, []reflect.Type{reflect.TypeFor[parkhttp.Listener](), reflect.TypeFor[parkhttp.Conn](), reflect.TypeFor[parkhttp.TLSConn]()},
		[]reflect.Type{reflect.TypeFor[netconn.Listener](), reflect.TypeFor[netconn.Conn](), reflect.TypeFor[netconn.TLSConn]()})
}
