package frame_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"testing"
	"time"

	"github.com/pollux-io/pollux/internal/grouptest"
	"github.com/pollux-io/pollux/internal/testkit"
	"github.com/pollux-io/pollux/loop"
	"github.com/pollux-io/pollux/loop/frame"
)

// recorder is a handler that reports the lengths of its frames and the reason of the end.
type recorder struct {
	format frame.Format
	frames chan int
	closed chan error
}

func (h *recorder) Data(_ *loop.Conn, b []byte) (int, error) {
	return frame.Each(h.format, b, func(content []byte) error {
		h.frames <- len(content)
		return nil
	})
}

func (h *recorder) Closed(_ *loop.Conn, why error) { h.closed <- why }

// With MaxUnreadBytes as small as MaxEncodedBytes, a loop delivers a frame of the maximum length,
// in however many parts it arrives; a longer one ends the connection with the format's error.
func TestOnLoop(t *testing.T) {
	const longest = 1000
	scanned := frame.Lines(longest)
	for _, test := range []struct {
		name   string
		format encoder
		in     func() frame.Format
		larger encoder // the format, with a larger maximum
	}{
		{"Lines", frame.Lines(longest), nil, frame.Lines(longest + 1)},
		{"Scanner", scanned, func() frame.Format { return &frame.Scanner{Format: scanned} }, frame.Lines(longest + 1)},
		{"Prefixed", &frame.Prefixed{LengthBytes: 4, MaxBytes: longest}, nil, &frame.Prefixed{LengthBytes: 4, MaxBytes: longest + 1}},
		{"Varint", &frame.Varint{MaxBytes: longest}, nil, &frame.Varint{MaxBytes: longest + 1}},
	} {
		t.Run(test.name, func(t *testing.T) {
			testkit.CheckLeaks(t)
			h := &recorder{format: test.format, frames: make(chan int, 10), closed: make(chan error, 1)}
			if test.in != nil {
				h.format = test.in()
			}
			c := serve(t, loop.Config{Loops: 1, MaxUnreadBytes: test.format.MaxEncodedBytes()}, h)
			stream, err := test.format.Append(nil, bytes.Repeat([]byte("x"), longest))
			if err != nil {
				t.Fatal(err)
			}
			for i := range stream {
				if _, err := c.Write(stream[i : i+1]); err != nil {
					t.Fatal(err)
				}
			}
			if n := receive(t, h.frames, h.closed); n != longest {
				t.Errorf("a frame of %d bytes, want %d", n, longest)
			}

			if stream, err = test.larger.Append(nil, bytes.Repeat([]byte("x"), longest+1)); err != nil {
				t.Fatal(err)
			}
			c.Write(stream)
			c.CloseWrite() // or the loop would wait for it
			var tooLong *frame.TooLongError
			if why := receive(t, h.closed, nil); !errors.As(why, &tooLong) || tooLong.MaxBytes != longest {
				t.Errorf("closed: %v, want a TooLongError", why)
			}
			if len(h.frames) > 0 {
				t.Error("a frame that is too long was delivered")
			}
		})
	}
}

func serve(t *testing.T, config loop.Config, h loop.Handler) *net.TCPConn {
	t.Helper()
	config.Logger = slog.New(slog.NewTextHandler(io.Discard, nil))
	g := grouptest.New(t, config)
	ln, err := g.Listen("tcp", "127.0.0.1:0", func(*loop.Conn) loop.Handler { return h })
	if err != nil {
		t.Fatal(err)
	}
	c, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() }) // before the group ends
	return c.(*net.TCPConn)
}

// receive returns what c delivers, and fails the test if the connection ends before.
func receive[T any](t *testing.T, c <-chan T, closed <-chan error) (v T) {
	t.Helper()
	select {
	case v = <-c:
	case why := <-closed:
		t.Fatal(fmt.Errorf("closed: %w", why))
	case <-time.After(testkit.Watchdog):
		t.Fatal("nothing arrives\n" + testkit.Stacks())
	}
	return v
}
