package frame_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/pollux-io/pollux/loop/frame"
)

// encoder is a format that also encodes.
type encoder interface {
	frame.Format
	Append(dst, payload []byte) ([]byte, error)
	MaxEncodedBytes() int
}

var (
	_ encoder = (*frame.Delimited)(nil)
	_ encoder = (*frame.Prefixed)(nil)
	_ encoder = (*frame.Varint)(nil)
)

// split gives f the stream in chunks, whose lengths next returns, as a loop does: what is not
// consumed is given again, in other memory. It returns the frames, how many bytes they have in the
// stream, and the error.
func split(t testing.TB, f frame.Format, stream []byte, next func() int) (frames []string, consumed int, err error) {
	t.Helper()
	for end := 0; end < len(stream); {
		end = min(end+max(next(), 1), len(stream))
		b := bytes.Clone(stream[consumed:end])
		n, err := frame.Each(f, b, func(content []byte) error {
			if cap(content) != len(content) {
				t.Fatalf("a frame of %d bytes has a capacity of %d, want its length", len(content), cap(content))
			}
			frames = append(frames, string(content))
			return nil
		})
		if n < 0 || n > len(b) {
			t.Fatalf("%d bytes consumed of %d", n, len(b))
		}
		consumed += n
		if err != nil {
			return frames, consumed, err
		}
	}
	return frames, consumed, nil
}

// always returns a function that always returns n.
func always(n int) func() int { return func() int { return n } }

// checkFrames compares what f finds with want, for every split of the stream into two chunks, and
// for chunks of one byte.
func checkFrames(t *testing.T, f func() frame.Format, stream string, want []string, wantErr any) {
	t.Helper()
	check := func(what string, next func() int) {
		t.Helper()
		got, consumed, err := split(t, f(), []byte(stream), next)
		if !slices.Equal(got, want) {
			t.Errorf("%.40q, %s: frames %.100q, want %.100q", stream, what, got, want)
		}
		if reflect.TypeOf(err) != reflect.TypeOf(wantErr) {
			t.Errorf("%.40q, %s: error %v, want a %T", stream, what, err, wantErr)
		}
		if consumed > len(stream) {
			t.Errorf("%.40q, %s: %d bytes consumed of %d", stream, what, consumed, len(stream))
		}
	}
	check("whole", always(len(stream)))
	check("byte by byte", always(1))
	for first := 1; first < len(stream); first++ {
		chunks := []int{first, len(stream)}
		check(fmt.Sprintf("first %d bytes", first), func() int {
			n := chunks[0]
			chunks = append(chunks[1:], len(stream))
			return n
		})
	}
}

var delimitedTests = []struct {
	format *frame.Delimited
	stream string
	want   []string
	err    error
}{
	{frame.Lines(4), "", nil, nil},
	{frame.Lines(4), "a\nbc\r\n", []string{"a", "bc"}, nil},
	{frame.Lines(4), "\n\r\n\n", []string{"", "", ""}, nil},
	{frame.Lines(4), "rest", nil, nil},
	{frame.Lines(4), "a\rb\r\r\n", []string{"a\rb\r"}, nil},
	{frame.Lines(4), "1234\n1234\r\n", []string{"1234", "1234"}, nil},
	{frame.Lines(4), "1234\r", nil, nil},
	{frame.Lines(4), "1\n12345\n", []string{"1"}, &frame.TooLongError{}},
	{frame.Lines(4), "1\n12345\r\n", []string{"1"}, &frame.TooLongError{}},
	{frame.Lines(4), "1\n1234\r\r\n", []string{"1"}, &frame.TooLongError{}},
	{frame.Lines(4), "123456", nil, &frame.TooLongError{}},
	{&frame.Delimited{Delimiter: "\n", MaxBytes: 4}, "a\r\n1234\n", []string{"a\r", "1234"}, nil},
	{&frame.Delimited{Delimiter: "\n", MaxBytes: 4}, "1234\r\n", nil, &frame.TooLongError{}},
	{&frame.Delimited{Delimiter: "\r\n", MaxBytes: 4}, "a\nb\r\n\r\n\r\r\n", []string{"a\nb", "", "\r"}, nil},
	{&frame.Delimited{Delimiter: "\r\n", MaxBytes: 4}, "1234\r\n12345\r\n", []string{"1234"}, &frame.TooLongError{}},
	{&frame.Delimited{Delimiter: "\r\n", MaxBytes: 4}, "1234\r", nil, nil},
	{&frame.Delimited{Delimiter: "\r\n\r\n", MaxBytes: 8}, "a\r\nb\r\n\r\n\r\n\r\r\n\r\n", []string{"a\r\nb", "\r\n\r"}, nil},
	{&frame.Delimited{Delimiter: "aab", MaxBytes: 8}, "aaabaabxaab", []string{"a", "", "x"}, nil},
	{&frame.Delimited{Delimiter: "\x00", MaxBytes: 1}, "\x00a\x00", []string{"", "a"}, nil},
}

func TestDelimited(t *testing.T) {
	for _, test := range delimitedTests {
		checkFrames(t, func() frame.Format { return test.format }, test.stream, test.want, test.err)
		checkFrames(t, func() frame.Format { return &frame.Scanner{Format: test.format} }, test.stream, test.want, test.err)
	}
}

// header returns the bytes of a length, in the size and order of p.
func header(p *frame.Prefixed, length uint64) string {
	b := binary.BigEndian.AppendUint64(nil, length)[8-p.LengthBytes:]
	if p.LittleEndian {
		slices.Reverse(b)
	}
	return string(b)
}

// eachPrefixed calls check with formats of every size and order.
func eachPrefixed(maxBytes int, check func(p *frame.Prefixed)) {
	for _, size := range []int{1, 2, 3, 4, 8} {
		for _, little := range []bool{false, true} {
			for _, includes := range []bool{false, true} {
				check(&frame.Prefixed{LengthBytes: size, LittleEndian: little, IncludesLength: includes, MaxBytes: maxBytes})
			}
		}
	}
}

func TestPrefixed(t *testing.T) {
	const longest = 5
	eachPrefixed(longest, func(p *frame.Prefixed) {
		own := uint64(0)
		if p.IncludesLength {
			own = uint64(p.LengthBytes)
		}
		f := func() frame.Format { return p }
		checkFrames(t, f, header(p, own+3)+"abc"+header(p, own)+header(p, own+longest)+"12345"+header(p, own+2)+"x",
			[]string{"abc", "", "12345"}, nil)
		checkFrames(t, f, header(p, own+1)+"a"+header(p, own+longest+1)+"123456", []string{"a"}, &frame.TooLongError{})
		checkFrames(t, f, strings.Repeat("\xff", p.LengthBytes)+"abc", nil, &frame.TooLongError{})
		if p.IncludesLength {
			checkFrames(t, f, header(p, own-1)+"abc", nil, &frame.HeaderError{})
			checkFrames(t, f, header(p, 0)+"abc", nil, &frame.HeaderError{})
		}
	})
}

// The size of a length that no int expresses is reported, and never cut to a shorter one.
func TestPrefixedReportsLength(t *testing.T) {
	for _, length := range []uint64{6, 1 << 31, 1<<32 + 1, 1<<63 + 1, math.MaxUint64} {
		for _, includes := range []bool{false, true} {
			p := &frame.Prefixed{LengthBytes: 8, IncludesLength: includes, MaxBytes: 5}
			want := length
			if includes {
				want -= 8
			}
			if length == 6 && includes {
				continue
			}
			_, _, err := p.Next([]byte(header(p, length) + "12345678"))
			var tooLong *frame.TooLongError
			if !errors.As(err, &tooLong) || tooLong.Bytes != want || tooLong.MaxBytes != 5 {
				t.Errorf("length %d: %v, want a TooLongError of %d bytes", length, err, want)
			}
		}
	}
}

func TestVarint(t *testing.T) {
	f := func() frame.Format { return &frame.Varint{MaxBytes: 200} }
	long := strings.Repeat("x", 200)
	checkFrames(t, f, "\x03abc\x00\x01d\x02x", []string{"abc", "", "d"}, nil)
	checkFrames(t, f, "\xc8\x01"+long, []string{long}, nil)
	checkFrames(t, f, "\x00\xc9\x01"+long+"x", []string{""}, &frame.TooLongError{})
	checkFrames(t, f, "\x81\x80\x00a\x81\x80\x80\x80\x80\x80\x80\x80\x80\x00b", []string{"a", "b"}, nil) // longer than necessary
	checkFrames(t, f, "\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01x", nil, &frame.TooLongError{})           // 1<<64 - 1
	checkFrames(t, f, "\x01a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02x", []string{"a"}, &frame.HeaderError{})
	checkFrames(t, f, strings.Repeat("\x80", 10), nil, &frame.HeaderError{})
	checkFrames(t, f, strings.Repeat("\x80", 12), nil, &frame.HeaderError{})
	checkFrames(t, f, strings.Repeat("\x80", 9), nil, nil)
}

// Each stops at an error and counts the frame that caused it; ErrStop is not an error.
func TestEachStops(t *testing.T) {
	failure := errors.New("failure")
	for _, test := range []struct{ returned, want error }{{failure, failure}, {frame.ErrStop, nil}, {fmt.Errorf("paused: %w", frame.ErrStop), nil}} {
		var got []string
		n, err := frame.Each(frame.Lines(10), []byte("one\ntwo\nthree\n"), func(line []byte) error {
			if got = append(got, string(line)); len(got) == 2 {
				return test.returned
			}
			return nil
		})
		if n != len("one\ntwo\n") || !errors.Is(err, test.want) || (test.want == nil && err != nil) || len(got) != 2 {
			t.Errorf("%v: consumed %d, error %v, frames %q", test.returned, n, err, got)
		}
	}
}

// A Scanner does not search again what it has searched: a delimiter that is put there is not
// found. So the cost of a frame does not depend on the number of its parts.
func TestScannerSearchesOnce(t *testing.T) {
	for _, delimiter := range []string{"\n", "\r\n", "--end"} {
		s := &frame.Scanner{Format: &frame.Delimited{Delimiter: delimiter, MaxBytes: 1 << 10}}
		b := bytes.Repeat([]byte{'x'}, 500)
		for end := 100; end <= len(b); end += 100 {
			if n, _, err := s.Next(b[:end]); n != 0 || err != nil {
				t.Fatalf("%q: %d, %v", delimiter, n, err)
			}
			copy(b[end-50:], delimiter)
			copy(b[end-len(delimiter):], delimiter)
		}
		b = append(b, delimiter...)
		if n, content, err := s.Next(b); n != len(b) || len(content) != 500 || err != nil {
			t.Errorf("%q: %d bytes, a frame of %d, %v; want %d: the first delimiters are in what was searched", delimiter, n, len(content), err, len(b))
		}
		if n, _, err := s.Next(b); n >= len(b) || n == 0 || err != nil { // begins again after a frame
			t.Errorf("%q: %d, %v; want the first delimiter", delimiter, n, err)
		}
	}
}

// A Scanner that gets less than before begins again.
func TestScannerOfOtherStream(t *testing.T) {
	s := &frame.Scanner{Format: frame.Lines(100)}
	if n, _, err := s.Next([]byte("a long beginning")); n != 0 || err != nil {
		t.Fatal(n, err)
	}
	if n, content, err := s.Next([]byte("short\n")); n != 6 || string(content) != "short" || err != nil {
		t.Errorf("%d, %q, %v", n, content, err)
	}
}

func TestBadFormats(t *testing.T) {
	for _, test := range []struct {
		f    frame.Format
		want string
	}{
		{&frame.Delimited{MaxBytes: 1}, "Delimited.Delimiter has 0 bytes; it must have from 1 to 256"},
		{&frame.Delimited{Delimiter: strings.Repeat("x", 257), MaxBytes: 1}, "Delimited.Delimiter has 257 bytes; it must have from 1 to 256"},
		{&frame.Delimited{Delimiter: "\n"}, "Delimited.MaxBytes is 0; it must be from 1 to 1073741824"},
		{&frame.Delimited{Delimiter: "\n", MaxBytes: -1}, "Delimited.MaxBytes is -1; it must be from 1 to 1073741824"},
		{&frame.Delimited{Delimiter: "\n", MaxBytes: 1<<30 + 1}, "Delimited.MaxBytes is 1073741825; it must be from 1 to 1073741824"},
		{&frame.Scanner{}, "Scanner.Format is needed, not nil"},
		{&frame.Scanner{Format: &frame.Delimited{Delimiter: "\n"}}, "Delimited.MaxBytes is 0; it must be from 1 to 1073741824"},
		{&frame.Prefixed{MaxBytes: 1}, "Prefixed.LengthBytes is 0; it must be 1, 2, 3, 4 or 8"},
		{&frame.Prefixed{MaxBytes: 1, LengthBytes: 5}, "Prefixed.LengthBytes is 5; it must be 1, 2, 3, 4 or 8"},
		{&frame.Prefixed{LengthBytes: 4}, "Prefixed.MaxBytes is 0; it must be from 1 to 1073741824"},
		{&frame.Varint{}, "Varint.MaxBytes is 0; it must be from 1 to 1073741824"},
	} {
		want := "frame: bad argument: " + test.want
		check := func(call string, err error) {
			t.Helper()
			if !errors.Is(err, frame.ErrBadArgument) || err.Error() != want {
				t.Errorf("%T.%s: %v, want %s", test.f, call, err, want)
			}
		}
		n, content, err := test.f.Next([]byte("x\n"))
		check("Next", err)
		if n != 0 || content != nil {
			t.Errorf("%T.Next: %d, %q with an error", test.f, n, content)
		}
		if e, ok := test.f.(encoder); ok {
			b, err := e.Append([]byte("before"), []byte("x"))
			check("Append", err)
			if string(b) != "before" {
				t.Errorf("%T.Append returned %q with an error, want dst", test.f, b)
			}
			checkPanics(t, want, func() { e.MaxEncodedBytes() })
		}
	}
	checkPanics(t, "frame: bad argument: Delimited.MaxBytes is 0; it must be from 1 to 1073741824", func() { frame.Lines(0) })
	for _, f := range []interface {
		AppendHeader(dst []byte, payloadBytes int) ([]byte, error)
	}{&frame.Prefixed{LengthBytes: 2, MaxBytes: 10}, &frame.Varint{MaxBytes: 10}} {
		if b, err := f.AppendHeader(nil, -1); !errors.Is(err, frame.ErrBadArgument) || len(b) > 0 {
			t.Errorf("%T.AppendHeader(nil, -1): %q, %v", f, b, err)
		}
	}
}

func checkPanics(t *testing.T, want string, f func()) {
	t.Helper()
	defer func() {
		if got := recover(); got != want {
			t.Errorf("panic %v, want %s", got, want)
		}
	}()
	f()
}

// The errors name the limit or the rule, with sizes.
func TestErrors(t *testing.T) {
	for _, test := range []struct {
		f      frame.Format
		stream string
		want   string
	}{
		{frame.Lines(4), "123456", "frame: Delimited: no delimiter after 4 bytes, the maximum; raise MaxBytes if longer frames are valid"},
		{&frame.Prefixed{LengthBytes: 2, MaxBytes: 4}, "\x01\x00", "frame: Prefixed: a frame of 256 bytes; the maximum is 4; raise it if such frames are valid"},
		{&frame.Prefixed{LengthBytes: 2, IncludesLength: true, MaxBytes: 4}, "\x00\x01", "frame: Prefixed: the header 00 01 is invalid: the length is 1, but includes its own 2 bytes; the peer uses another format"},
		{&frame.Varint{MaxBytes: 4}, "\x80\x02", "frame: Varint: a frame of 256 bytes; the maximum is 4; raise it if such frames are valid"},
		{&frame.Varint{MaxBytes: 4}, strings.Repeat("\xff", 11), "frame: Varint: the header ff ff ff ff ff ff ff ff ff ff is invalid: the length has more than 64 bits; the peer uses another format"},
	} {
		if _, _, err := test.f.Next([]byte(test.stream)); err == nil || err.Error() != test.want {
			t.Errorf("%q: %v\nwant %s", test.stream, err, test.want)
		}
	}
}

// MaxEncodedBytes is the least MaxUnreadBytes: the longest frame has as many bytes, and when as
// many bytes were received, the frame is complete or too long.
func TestMaxEncodedBytes(t *testing.T) {
	for _, test := range []struct {
		f    encoder
		want int
	}{
		{frame.Lines(10), 12},
		{&frame.Delimited{Delimiter: "\r\n", MaxBytes: 10}, 12},
		{&frame.Prefixed{LengthBytes: 8, MaxBytes: 10}, 18},
		{&frame.Prefixed{LengthBytes: 1, MaxBytes: 1000}, 256},
		{&frame.Prefixed{LengthBytes: 1, IncludesLength: true, MaxBytes: 1000}, 255},
		{&frame.Prefixed{LengthBytes: 4, MaxBytes: frame.MaxFrameBytes}, 4 + 1<<30},
		{&frame.Prefixed{LengthBytes: 8, IncludesLength: true, MaxBytes: frame.MaxFrameBytes}, 8 + 1<<30},
		{&frame.Varint{MaxBytes: frame.MaxFrameBytes}, 10 + 1<<30},
	} {
		if got := test.f.MaxEncodedBytes(); got != test.want {
			t.Errorf("%+v: %d, want %d", test.f, got, test.want)
		}
	}
	for stream, f := range map[string]encoder{
		strings.Repeat("x", 12): frame.Lines(10),
		"\x8a\x80\x80\x80\x80\x80\x80\x80\x80\x00" + strings.Repeat("x", 10): &frame.Varint{MaxBytes: 10},
		"\xff" + strings.Repeat("x", 255):                                    &frame.Prefixed{LengthBytes: 1, MaxBytes: 1000},
	} {
		if len(stream) != f.MaxEncodedBytes() {
			t.Fatalf("%T: the test's stream has %d bytes, want %d", f, len(stream), f.MaxEncodedBytes())
		}
		if n, _, err := f.Next([]byte(stream)); n != len(stream) && err == nil {
			t.Errorf("%T is incomplete after %d bytes", f, len(stream))
		}
		if n, _, err := f.Next([]byte(stream[:len(stream)-1])); n != 0 || err != nil {
			t.Errorf("%T: %d, %v without the last byte", f, n, err)
		}
	}
}

// Finding frames and appending to a slice with capacity allocate nothing.
func TestNoAllocations(t *testing.T) {
	lines, prefixed, varint := frame.Lines(100), &frame.Prefixed{LengthBytes: 4, MaxBytes: 100}, &frame.Varint{MaxBytes: 100}
	scanner := &frame.Scanner{Format: lines}
	buf := make([]byte, 0, 1000)
	for _, f := range []encoder{lines, prefixed, varint} {
		stream, err := f.Append(nil, []byte("hello"))
		if err != nil {
			t.Fatal(err)
		}
		stream = append(stream, stream...)
		stream = append(stream, stream[:len(stream)/2-1]...) // an incomplete frame
		payload, frames := []byte("hello"), 0
		if n := testing.AllocsPerRun(100, func() {
			buf, _ = f.Append(buf[:0], payload)
			_, err = frame.Each(f, stream, func([]byte) error { frames++; return nil })
		}); n != 0 || err != nil || frames == 0 {
			t.Errorf("%T: %v allocations, %v, %d frames", f, n, err, frames)
		}
	}
	stream, frames := []byte("one\ntwo\nincomplete"), 0
	if n := testing.AllocsPerRun(100, func() {
		frame.Each(scanner, stream, func([]byte) error { frames++; return nil })
	}); n != 0 || frames == 0 {
		t.Errorf("Scanner: %v allocations, %d frames", n, frames)
	}
}
