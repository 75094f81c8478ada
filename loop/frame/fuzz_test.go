package frame_test

import (
	"bytes"
	"errors"
	"math/big"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/pollux-io/pollux/loop/frame"
)

// maxFuzzBytes bounds the maximum of the fuzzed formats, so that streams exceed it.
const maxFuzzBytes = 300

// checkSplits compares what f finds in stream with want, whole and in chunks of the given lengths.
func checkSplits(t *testing.T, f func() frame.Format, stream, chunks []byte, want []string, wantErr any) {
	t.Helper()
	at := 0
	inChunks := func() int {
		if at++; len(chunks) == 0 {
			return 1
		}
		return int(chunks[at%len(chunks)])
	}
	for what, next := range map[string]func() int{"whole": always(len(stream)), "in chunks": inChunks} {
		got, consumed, err := split(t, f(), stream, next)
		if !slices.Equal(got, want) || reflect.TypeOf(err) != reflect.TypeOf(wantErr) {
			t.Errorf("%T, %s: frames %q, %v; want %q and a %T", f(), what, got, err, want, wantErr)
		}
		if content := strings.Join(got, ""); consumed < len(content) || consumed > len(stream) {
			t.Errorf("%T, %s: %d bytes consumed of %d, frames of %d", f(), what, consumed, len(stream), len(content))
		}
	}
}

// checkRoundTrip appends payload and finds it again, if Append takes it.
func checkRoundTrip(t *testing.T, f encoder, payload []byte) error {
	t.Helper()
	b, err := f.Append([]byte("before"), payload)
	if err != nil {
		if string(b) != "before" {
			t.Errorf("%+v: Append returned %q with an error", f, b)
		}
		return err
	}
	encoded := b[len("before"):]
	if len(encoded) > f.MaxEncodedBytes() {
		t.Errorf("%+v: %d bytes are encoded as %d, more than MaxEncodedBytes, %d", f, len(payload), len(encoded), f.MaxEncodedBytes())
	}
	if n, content, err := f.Next(encoded); n != len(encoded) || !bytes.Equal(content, payload) || err != nil {
		t.Errorf("%+v: payload %q is encoded as %q, and decoded as %d bytes, %q, %v", f, payload, encoded, n, content, err)
	}
	return nil
}

// splitDelimited finds frames by package strings.
func splitDelimited(d *frame.Delimited, stream string) (frames []string, err any) {
	cr := 0
	if d.TrimCR {
		cr = 1
	}
	for {
		content, rest, found := strings.Cut(stream, d.Delimiter)
		if !found {
			if len(stream) >= d.MaxBytes+cr+len(d.Delimiter) {
				return frames, &frame.TooLongError{}
			}
			return frames, nil
		}
		if d.TrimCR {
			content = strings.TrimSuffix(content, "\r")
		}
		if len(content) > d.MaxBytes {
			return frames, &frame.TooLongError{}
		}
		frames, stream = append(frames, content), rest
	}
}

func FuzzDelimited(f *testing.F) {
	for _, test := range delimitedTests {
		f.Add([]byte(test.stream), test.format.Delimiter, test.format.MaxBytes, test.format.TrimCR, []byte{3, 1, 7})
	}
	f.Fuzz(func(t *testing.T, stream []byte, delimiter string, maxBytes int, trimCR bool, chunks []byte) {
		d := &frame.Delimited{Delimiter: delimiter, MaxBytes: maxBytes % maxFuzzBytes, TrimCR: trimCR}
		if _, _, err := d.Next(nil); err != nil {
			if !errors.Is(err, frame.ErrBadArgument) {
				t.Error(err)
			}
			return
		}
		want, wantErr := splitDelimited(d, string(stream))
		checkSplits(t, func() frame.Format { return d }, stream, chunks, want, wantErr)
		checkSplits(t, func() frame.Format { return &frame.Scanner{Format: d} }, stream, chunks, want, wantErr)

		// The stream as a payload: it is refused exactly if it is not one frame when the delimiter
		// follows it.
		frames, err := splitDelimited(d, string(stream)+delimiter)
		single := len(frames) == 1 && err == nil && frames[0] == string(stream)
		if err := checkRoundTrip(t, d, stream); (err == nil) != single {
			t.Errorf("%+v: payload %q: %v; with the delimiter it is %q", *d, stream, err, frames)
		}
	})
}

// splitByLength finds frames whose length header decodes: to the length, which may be any number,
// and the size of the header; 0 if it is incomplete, and less if it is invalid.
func splitByLength(stream string, maxBytes int, header func(string) (length *big.Int, size int)) (frames []string, err any) {
	for {
		length, size := header(stream)
		switch {
		case size < 0:
			return frames, &frame.HeaderError{}
		case size == 0:
			return frames, nil
		case length.Cmp(big.NewInt(int64(maxBytes))) > 0:
			return frames, &frame.TooLongError{}
		}
		end := size + int(length.Int64())
		if end > len(stream) {
			return frames, nil
		}
		frames, stream = append(frames, stream[size:end]), stream[end:]
	}
}

// checkHeader compares what Header decodes at the start of stream with header, as splitByLength has
// it.
func checkHeader(t *testing.T, f interface {
	Header(b []byte) (headerBytes, payloadBytes int, err error)
}, stream []byte, maxBytes int, header func(string) (length *big.Int, size int),
) {
	t.Helper()
	length, size := header(string(stream))
	var tooLong *frame.TooLongError
	var invalid *frame.HeaderError
	n, payload, err := f.Header(stream)
	switch {
	case size < 0 && !errors.As(err, &invalid),
		size > 0 && length.Cmp(big.NewInt(int64(maxBytes))) > 0 && (!errors.As(err, &tooLong) || tooLong.Bytes != length.Uint64()),
		err != nil && n+payload != 0,
		err == nil && n != size,
		err == nil && n > 0 && length.Cmp(big.NewInt(int64(payload))) != 0:
		t.Errorf("%+v: Header(% x) is %d, %d, %v; want %d, %v", f, stream, n, payload, err, size, length)
	}
}

func FuzzPrefixed(f *testing.F) {
	eachPrefixed(maxFuzzBytes-1, func(p *frame.Prefixed) {
		stream, _ := p.Append(nil, []byte("hello"))
		stream, _ = p.Append(stream, nil)
		stream, _ = p.Append(stream, bytes.Repeat([]byte("x"), 200))
		f.Add(stream, p.LengthBytes, p.LittleEndian, p.IncludesLength, p.MaxBytes, []byte{3, 1, 7})
		f.Add(bytes.Repeat([]byte{0xff}, 12), p.LengthBytes, p.LittleEndian, p.IncludesLength, p.MaxBytes, []byte{})
	})
	f.Fuzz(func(t *testing.T, stream []byte, lengthBytes int, little, includes bool, maxBytes int, chunks []byte) {
		p := &frame.Prefixed{LengthBytes: lengthBytes % 10, LittleEndian: little, IncludesLength: includes, MaxBytes: maxBytes % maxFuzzBytes}
		if _, _, err := p.Next(nil); err != nil {
			if !errors.Is(err, frame.ErrBadArgument) {
				t.Error(err)
			}
			return
		}
		header := func(s string) (*big.Int, int) {
			if len(s) < p.LengthBytes {
				return nil, 0
			}
			digits := []byte(s[:p.LengthBytes])
			if p.LittleEndian {
				slices.Reverse(digits)
			}
			length := new(big.Int).SetBytes(digits)
			if p.IncludesLength {
				length.Sub(length, big.NewInt(int64(p.LengthBytes)))
			}
			if length.Sign() < 0 {
				return nil, -1
			}
			return length, p.LengthBytes
		}
		want, wantErr := splitByLength(string(stream), p.MaxBytes, header)
		checkHeader(t, p, stream, p.MaxBytes, header)
		checkSplits(t, func() frame.Format { return p }, stream, chunks, want, wantErr)
		longest := p.MaxEncodedBytes() - p.LengthBytes
		if err := checkRoundTrip(t, p, stream); (err == nil) != (len(stream) <= longest) {
			t.Errorf("%+v: payload of %d bytes: %v; the maximum is %d", *p, len(stream), err, longest)
		}
	})
}

func FuzzVarint(f *testing.F) {
	v := &frame.Varint{MaxBytes: maxFuzzBytes - 1} // of the seeds
	stream, _ := v.Append(nil, []byte("hello"))
	stream, _ = v.Append(stream, nil)
	stream, _ = v.Append(stream, bytes.Repeat([]byte("x"), 200))
	f.Add(stream, v.MaxBytes, []byte{3, 1, 7})
	f.Add([]byte(strings.Repeat("\xff", 9)+"\x01"), v.MaxBytes, []byte{})
	f.Add([]byte(strings.Repeat("\xff", 9)+"\x02"), v.MaxBytes, []byte{})
	f.Add([]byte(strings.Repeat("\x80", 10)), v.MaxBytes, []byte{})
	f.Fuzz(func(t *testing.T, stream []byte, maxBytes int, chunks []byte) {
		v := &frame.Varint{MaxBytes: maxBytes % maxFuzzBytes}
		if _, _, err := v.Next(nil); err != nil {
			if !errors.Is(err, frame.ErrBadArgument) {
				t.Error(err)
			}
			return
		}
		header := func(s string) (*big.Int, int) {
			length := new(big.Int)
			for i := range min(len(s), 10) {
				digit := big.NewInt(int64(s[i] & 0x7f))
				length.Or(length, digit.Lsh(digit, uint(7*i)))
				switch {
				case s[i] < 0x80 && length.IsUint64():
					return length, i + 1
				case s[i] < 0x80:
					return nil, -1
				}
			}
			if len(s) >= 10 {
				return nil, -1
			}
			return nil, 0
		}
		want, wantErr := splitByLength(string(stream), v.MaxBytes, header)
		checkHeader(t, v, stream, v.MaxBytes, header)
		checkSplits(t, func() frame.Format { return v }, stream, chunks, want, wantErr)
		if err := checkRoundTrip(t, v, stream); (err == nil) != (len(stream) <= v.MaxBytes) {
			t.Errorf("%+v: payload of %d bytes: %v", *v, len(stream), err)
		}
	})
}
