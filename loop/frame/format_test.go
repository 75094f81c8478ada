package frame_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/pollux-io/pollux/loop/frame"
)

// Each without a format or a function returns ErrBadArgument, also if there is no frame.
func TestEachWithoutArguments(t *testing.T) {
	for _, b := range []string{"", "a\n"} {
		n, err := frame.Each(nil, []byte(b), func([]byte) error { return nil })
		if n != 0 || !errors.Is(err, frame.ErrBadArgument) || !strings.Contains(err.Error(), "not nil") {
			t.Errorf("Each of %q without a format: %d, %v, want ErrBadArgument", b, n, err)
		}
		if n, err := frame.Each(frame.Lines(80), []byte(b), nil); n != 0 || !errors.Is(err, frame.ErrBadArgument) {
			t.Errorf("Each of %q without a function: %d, %v, want ErrBadArgument", b, n, err)
		}
	}
}
