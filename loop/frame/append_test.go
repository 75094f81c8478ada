package frame_test

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/pollux-io/pollux/loop/frame"
)

// Append and Next are inverse, up to the longest frame; a longer one is refused, and dst is
// unchanged.
func TestAppend(t *testing.T) {
	formats := []encoder{
		frame.Lines(300), &frame.Delimited{Delimiter: "\r\n", MaxBytes: 300}, &frame.Varint{MaxBytes: 300},
	}
	eachPrefixed(300, func(p *frame.Prefixed) { formats = append(formats, p) })
	for _, f := range formats {
		longest := 300
		if p, ok := f.(*frame.Prefixed); ok && p.LengthBytes == 1 {
			longest = 255
			if p.IncludesLength {
				longest = 254
			}
		}
		for _, n := range []int{0, 1, 127, 128, longest} {
			payload := bytes.Repeat([]byte{'x'}, n)
			b, err := f.Append([]byte("before"), payload)
			if err != nil {
				t.Errorf("%+v: %d bytes: %v", f, n, err)
				continue
			}
			encoded, found := bytes.CutPrefix(b, []byte("before"))
			if size, content, err := f.Next(encoded); !found || size != len(encoded) || !bytes.Equal(content, payload) || err != nil {
				t.Errorf("%+v: %d bytes are encoded as %.40q, decoded as %d of %d bytes, %.40q, %v", f, n, encoded, size, len(encoded), content, err)
			}
		}
		b, err := f.Append([]byte("before"), make([]byte, longest+1))
		var tooLong *frame.TooLongError
		if !errors.As(err, &tooLong) || tooLong.Bytes != uint64(longest+1) || tooLong.MaxBytes != longest || string(b) != "before" {
			t.Errorf("%+v: %v, want a TooLongError of %d bytes; %q", f, err, longest+1, b)
		}
	}
}

// A payload whose delimiter would end the frame early is refused: else a peer's text could inject
// frames.
func TestDelimitedAppendRefusesDelimiter(t *testing.T) {
	for _, test := range []struct {
		f       *frame.Delimited
		payload string
		end     int // of the frame that would be found; -1: it is the payload
	}{
		{frame.Lines(100), "two\nlines", 3},
		{frame.Lines(100), "two\r\nlines", 3},
		{frame.Lines(100), "\n", 0},
		{frame.Lines(100), "line\r", 4},
		{frame.Lines(100), "\r", 0},
		{frame.Lines(100), "a\rb", -1},
		{&frame.Delimited{Delimiter: "\n", MaxBytes: 100}, "line\r", -1},
		{&frame.Delimited{Delimiter: "\r\n", MaxBytes: 100}, "bare\nnewline", -1},
		{&frame.Delimited{Delimiter: "\r\n", MaxBytes: 100}, "line\r", -1},
		{&frame.Delimited{Delimiter: "\r\n", MaxBytes: 100}, "two\r\nlines", 3},
		{&frame.Delimited{Delimiter: "\r\n\r\n", MaxBytes: 100}, "line\r\n", 4},
		{&frame.Delimited{Delimiter: "aa", MaxBytes: 100}, "xa", 1},
	} {
		b, err := test.f.Append([]byte("before"), []byte(test.payload))
		var at *frame.DelimiterError
		switch {
		case test.end < 0 && err != nil:
			t.Errorf("%+v, %q: %v", *test.f, test.payload, err)
		case test.end < 0:
		case !errors.As(err, &at) || at.End != test.end || at.Bytes != len(test.payload) || at.Delimiter != test.f.Delimiter:
			t.Errorf("%+v, %q: %v, want a DelimiterError at byte %d", *test.f, test.payload, err, test.end)
		case string(b) != "before":
			t.Errorf("%+v, %q: returned %q with an error, want dst", *test.f, test.payload, b)
		}
	}
}

func TestDelimiterErrorText(t *testing.T) {
	_, err := frame.Lines(100).Append(nil, []byte("two\nlines"))
	const want = `frame: Delimited: the payload has 9 bytes, but with the delimiter "\n" the frame would end after 3; encode the payload, or use a format with a length`
	if fmt.Sprint(err) != want {
		t.Errorf("%v\nwant %s", err, want)
	}
}

// A frame of MaxFrameBytes is found without an overflow of int, also on 32 bits; no memory of that
// size is needed to see that.
func TestLargestLength(t *testing.T) {
	const largest = frame.MaxFrameBytes
	for _, f := range []interface {
		frame.Format
		AppendHeader(dst []byte, payloadBytes int) ([]byte, error)
	}{
		&frame.Prefixed{LengthBytes: 4, MaxBytes: largest},
		&frame.Prefixed{LengthBytes: 8, IncludesLength: true, MaxBytes: largest},
		&frame.Varint{MaxBytes: largest},
	} {
		b, err := f.AppendHeader(nil, largest)
		if err != nil {
			t.Fatal(err)
		}
		if n, _, err := f.Next(append(b, "a beginning"...)); n != 0 || err != nil {
			t.Errorf("%+v: %d, %v, want an incomplete frame", f, n, err)
		}
		var tooLong *frame.TooLongError
		if _, err := f.AppendHeader(nil, largest+1); !errors.As(err, &tooLong) {
			t.Errorf("%+v: %v, want a TooLongError", f, err)
		}
	}
	d := &frame.Delimited{Delimiter: strings.Repeat("x", frame.MaxDelimiterBytes), MaxBytes: largest, TrimCR: true}
	if n, _, err := d.Next([]byte("a beginning")); n != 0 || err != nil || d.MaxEncodedBytes() != largest+257 {
		t.Errorf("%d, %v; at most %d bytes", n, err, d.MaxEncodedBytes())
	}
}
