package loop_test

import (
	"reflect"
	"testing"

	"github.com/pollux-io/pollux/internal/testkit"
	"github.com/pollux-io/pollux/loop"
)

// No exported method or field leads to the internals of a loop.
func TestNothingInternalIsPublic(t *testing.T) {
	testkit.CheckPublic(t, []reflect.Type{
		reflect.TypeFor[loop.Group](), reflect.TypeFor[loop.Config](), reflect.TypeFor[loop.Loop](), reflect.TypeFor[loop.Runner](), reflect.TypeFor[loop.Timer](),
		reflect.TypeFor[loop.Listener](), reflect.TypeFor[loop.Conn](), reflect.TypeFor[loop.Handler](), reflect.TypeFor[loop.OpenedHandler](),
		reflect.TypeFor[loop.ReadClosedHandler](), reflect.TypeFor[loop.DrainedHandler](), reflect.TypeFor[loop.ShutdownHandler](), reflect.TypeFor[loop.ClosedHandler](),
		reflect.TypeFor[loop.PacketListener](), reflect.TypeFor[loop.PacketConn](), reflect.TypeFor[loop.PacketHandler](), reflect.TypeFor[loop.WritableHandler](),
		reflect.TypeFor[loop.Watch](), reflect.TypeFor[loop.RelayConfig](), reflect.TypeFor[loop.RelayEnd](),
		reflect.TypeFor[loop.Shared](), reflect.TypeFor[loop.Fanout](), reflect.TypeFor[loop.FanoutConfig](), reflect.TypeFor[loop.FanoutStats](),
		reflect.TypeFor[loop.Stats](), reflect.TypeFor[loop.LoopStats](), reflect.TypeFor[loop.PanicError](), reflect.TypeFor[loop.ShutdownError](),
	}, nil)
}
