package tlsconn_test

import (
	"reflect"
	"testing"

	"github.com/pollux-io/pollux/internal/testkit"
	"github.com/pollux-io/pollux/loop"
	"github.com/pollux-io/pollux/tlsconn"
)

// No exported method or field leads to the internals of this package.
func TestNothingInternalIsPublic(t *testing.T) {
	testkit.CheckPublic(t, []reflect.Type{
		reflect.TypeFor[tlsconn.Options](), reflect.TypeFor[tlsconn.ClientHello](), reflect.TypeFor[tlsconn.Stats](),
	}, []reflect.Type{reflect.TypeFor[loop.Conn]()})
}
