package frame_test

import (
	"reflect"
	"testing"

	"github.com/pollux-io/pollux/internal/testkit"
	"github.com/pollux-io/pollux/loop/frame"
)

// No exported method or field mentions a type of an internal package.
func TestNothingInternalIsPublic(t *testing.T) {
	testkit.CheckPublic(t, []reflect.Type{
		reflect.TypeFor[frame.Format](), reflect.TypeFor[frame.Delimited](), reflect.TypeFor[frame.Prefixed](), reflect.TypeFor[frame.Varint](), reflect.TypeFor[frame.Scanner](),
		reflect.TypeFor[frame.TooLongError](), reflect.TypeFor[frame.HeaderError](), reflect.TypeFor[frame.DelimiterError](),
	}, nil)
}
