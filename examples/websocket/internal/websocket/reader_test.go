package websocket

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"
)

const testMax = 400 // MaxMessageBytes of the tests

// outcome is what a stream contains: its messages, and the code of the error that ends it, or 0.
type outcome struct {
	messages []string
	code     CloseCode
}

func (o *outcome) add(opcode Opcode, payload []byte) {
	o.messages = append(o.messages, fmt.Sprintf("%d %q", opcode, payload))
}

// read returns what a Reader finds in a stream of which it gets a part at a time, as from a loop: with
// what it has left, in memory that is overwritten after each call.
func read(t testing.TB, stream []byte, cut func(rest int) int) (o outcome) {
	r := Reader{MaxMessageBytes: testMax}
	var unread []byte
	for len(stream) > 0 {
		n := cut(len(stream))
		b := slices.Concat(unread, stream[:n])
		stream = stream[n:]
		consumed := 0
		for {
			m, n, err := r.Next(b[consumed:])
			consumed += n
			if err != nil {
				e := (*Error)(nil)
				if !errors.As(err, &e) {
					t.Fatalf("the error is %v, want an *Error", err)
				}
				o.code = e.Code
				return o
			}
			if m.Opcode == Continuation {
				break
			}
			o.add(m.Opcode, m.Payload)
		}
		unread = bytes.Clone(b[consumed:])
		if len(unread) > MaxHeaderBytes+maskBytes-1 && len(unread) > 2+maskBytes+MaxControlBytes-1 {
			t.Fatalf("%d bytes are unconsumed", len(unread))
		}
		for i := range b {
			b[i] = 0xEE
		}
	}
	if r.opcode == Continuation && r.payload != nil {
		t.Fatal("a buffer is kept without a message")
	}
	if cap(r.payload) > testMax {
		t.Fatalf("the buffer has %d bytes", cap(r.payload))
	}
	return o
}

// expected is read, in the plainest way: frame by frame, of a whole stream.
func expected(b []byte) (o outcome) {
	var opcode Opcode
	var message []byte
	for len(b) >= 2 {
		op, last, length, n := Opcode(b[0]&15), b[0]&0x80 != 0, uint64(b[1]&127), 2
		control := op >= 8
		if b[0]&0x70 != 0 || op > 2 && op < 8 || op > 10 || b[1] < 0x80 || control && (!last || length > 125) {
			return outcome{o.messages, ProtocolError}
		}
		switch {
		case length == 126 && len(b) < 4, length == 127 && len(b) < 10:
			return o
		case length == 126:
			length, n = uint64(binary.BigEndian.Uint16(b[2:])), 4
			if length < 126 {
				return outcome{o.messages, ProtocolError}
			}
		case length == 127:
			length, n = binary.BigEndian.Uint64(b[2:]), 10
			if length < 1<<16 || length >= 1<<63 {
				return outcome{o.messages, ProtocolError}
			}
		}
		if len(b) < n+4 {
			return o
		}
		payload := slices.Clone(b[n+4:][:min(length, uint64(len(b)-n-4))])
		for i := range payload {
			payload[i] ^= b[n+i%4]
		}
		whole := uint64(len(payload)) == length
		if !control {
			switch {
			case op == 0 && opcode == 0, op != 0 && opcode != 0:
				return outcome{o.messages, ProtocolError}
			case length > uint64(testMax-len(message)):
				return outcome{o.messages, MessageTooBig}
			case op != 0:
				opcode = op
			}
			message = append(message, payload...)
			if opcode == Text && !isTextSoFar(message, last && whole) {
				return outcome{o.messages, InvalidPayload}
			}
		}
		switch {
		case !whole:
			return o
		case control:
			if op == Close {
				if o.code = expectedOfClose(payload); o.code != 0 {
					return o
				}
			}
			o.add(op, payload)
		case last:
			o.add(opcode, message)
			opcode, message = 0, nil
		}
		b = b[n+4+int(length):]
	}
	return o
}

// expectedOfClose returns the code of the mistake in a Close frame, or 0.
func expectedOfClose(payload []byte) CloseCode {
	if len(payload) == 0 {
		return 0
	}
	if len(payload) == 1 {
		return ProtocolError
	}
	code := int(payload[0])<<8 | int(payload[1])
	if code < 1000 || code >= 1004 && code <= 1006 || code >= 1015 && code < 3000 || code >= 5000 {
		return ProtocolError
	}
	if !utf8.Valid(payload[2:]) {
		return InvalidPayload
	}
	return 0
}

// isTextSoFar reports whether b is UTF-8, or, unless it is whole, becomes it with some more bytes.
func isTextSoFar(b []byte, whole bool) bool {
	if utf8.Valid(b) || whole {
		return utf8.Valid(b)
	}
	for _, more := range []string{"\x80", "\x90", "\xA0", "\x80\x80", "\x90\x80", "\xA0\x80", "\x80\x80\x80", "\x90\x80\x80"} {
		if utf8.Valid(append(slices.Clone(b), more...)) {
			return true
		}
	}
	return false
}

func same(a, b outcome) bool { return a.code == b.code && slices.Equal(a.messages, b.messages) }

// check compares a Reader with expected, on a stream that it gets whole, byte by byte, cut in two
// everywhere, and cut at random.
func check(t testing.TB, stream []byte, random *rand.Rand) {
	t.Helper()
	want := expected(stream)
	compare := func(how string, cut func(int) int) {
		t.Helper()
		if got := read(t, stream, cut); !same(got, want) {
			t.Fatalf("%x\nread %s: got %v\nwant %v", stream, how, got, want)
		}
	}
	compare("whole", func(rest int) int { return rest })
	compare("byte by byte", func(int) int { return 1 })
	for at := 1; at < min(len(stream), 150); at++ {
		compare(fmt.Sprint("cut at ", at), func(rest int) int {
			if rest == len(stream) {
				return at
			}
			return rest
		})
	}
	for range 5 {
		compare("cut at random", func(rest int) int { return 1 + random.IntN(min(rest, 1+random.IntN(200))) })
	}
}

// randomStream returns frames, most of them valid, and some broken bytes.
func randomStream(random *rand.Rand) (b []byte) {
	texts := []string{"", "a", "héllo", "日本語", "\U0001F600", strings.Repeat("x", 125), strings.Repeat("é", 100), strings.Repeat("y", 300), "\xF4\x90", "\xC3", "\xED\xA0\x80"}
	inMessage := false
	for range random.IntN(8) {
		payload := texts[random.IntN(8+random.IntN(4))]
		if random.IntN(4) == 0 && len(payload) > 1 { // inside of a character, perhaps
			payload = payload[:random.IntN(len(payload))]
		}
		op, last := Opcode(1+random.IntN(2)), byte(random.IntN(2))<<7
		switch {
		case random.IntN(4) == 0:
			op, last = Close+Opcode(random.IntN(3)), 0x80
			if payload = payload[:min(len(payload), 125)]; op == Close {
				payload = string(AppendClosePayload(nil, CloseCode(999+random.IntN(20)), payload))
			}
		case inMessage != (random.IntN(25) == 0):
			op = Continuation
		}
		if op < Close {
			inMessage = last == 0
		}
		mask := [4]byte{byte(random.Uint32()), byte(random.Uint32()), 0, 7}
		f := AppendMasked(nil, op, []byte(payload), mask)
		f[0] = f[0]&0x7F | last
		if random.IntN(20) == 0 {
			f = broken(f, random)
		}
		b = append(b, f...)
	}
	return b
}

// broken returns a frame with a mistake in its header, or with the length in a longer form.
func broken(f []byte, random *rand.Rand) []byte {
	switch random.IntN(5) {
	case 0: // another opcode, a reserved bit, or another end
		f[0] ^= 1 << random.IntN(8)
	case 1: // no mask, or another length
		f[1] ^= 1 << random.IntN(8)
	case 2:
		if n := f[1] & 127; n < 126 {
			return slices.Concat([]byte{f[0], 0x80 | 126, 0, n}, f[2:])
		}
	case 3:
		if n := f[1] & 127; n == 126 {
			return slices.Concat([]byte{f[0], 0x80 | 127, 0, 0, 0, 0, 0, 0}, f[2:])
		}
	case 4: // a control frame that is too long
		return AppendMasked(nil, Ping, make([]byte, MaxControlBytes+1+random.IntN(2)), [4]byte{1, 2, 3, 4})
	}
	return f
}

// A Reader finds the same messages, and the same error, however the stream is cut.
func TestReaderFindsMessagesWhereverTheStreamIsCut(t *testing.T) {
	failed := map[CloseCode]int{}
	for seed := range uint64(400) {
		random := rand.New(rand.NewPCG(seed, 1))
		stream := randomStream(random)
		check(t, stream, random)
		failed[expected(stream).code]++
	}
	for _, code := range []CloseCode{0, ProtocolError, InvalidPayload, MessageTooBig} {
		if failed[code] < 5 {
			t.Errorf("%d streams end with the code %d, want more", failed[code], code)
		}
	}
}

func FuzzReader(f *testing.F) {
	for seed := range uint64(20) {
		f.Add(randomStream(rand.New(rand.NewPCG(seed, 2))))
	}
	f.Fuzz(func(t *testing.T, stream []byte) {
		want := expected(stream)
		for _, most := range []int{len(stream), 1, 7} {
			if got := read(t, stream, func(rest int) int { return min(rest, most) }); !same(got, want) {
				t.Fatalf("%x\nread %d bytes at a time: got %v\nwant %v", stream, most, got, want)
			}
		}
	})
}

// An invalid byte of a text is an error when it arrives, not later, and not before.
func TestReaderFailsAtTheInvalidByte(t *testing.T) {
	for _, c := range []struct {
		valid, invalid string
	}{
		{"κόσμε\xF4", "\x90"},
		{"κόσμε\xED", "\xA0"},
		{"\xE0", "\x9F"},
		{"\xF0", "\x8F"},
		{"abc", "\xC0"},
		{"abc", "\xF5"},
		{"\xF0\x9F\x98", "a"},
		{strings.Repeat("a", 70), "\x80"},
	} {
		r := Reader{MaxMessageBytes: testMax}
		whole := AppendMasked(nil, Text, []byte(c.valid+c.invalid+strings.Repeat("rest", 50)), [4]byte{1, 2, 3, 4})
		header := len(whole) - len(c.valid+c.invalid) - 200
		for i := range header + len(c.valid) + 1 {
			// What is left is only a part of the header.
			from := i
			if i < header {
				if i < header-1 {
					continue
				}
				from = 0
			}
			_, n, err := r.Next(whole[from : i+1])
			if last := i == header+len(c.valid); last != (err != nil) || err != nil && !errors.Is(err, errText) || err == nil && n != i+1-from {
				t.Fatalf("%q: after %d bytes of the text: %d consumed, %v", c.valid+c.invalid, i+1-header, n, err)
			}
		}
	}
}

// A header that announces a long message costs no memory.
func TestReaderAllocatesWhatHasArrived(t *testing.T) {
	r := Reader{MaxMessageBytes: 16 << 20}
	b := AppendMasked(nil, Binary, make([]byte, 16<<20), [4]byte{1, 2, 3, 4})
	arrived := 0
	for part := range slices.Chunk(b, 10_000) {
		arrived += len(part)
		m, n, err := r.Next(part)
		if err != nil || n != len(part) {
			t.Fatalf("%d of %d bytes are consumed, %v", n, len(part), err)
		}
		if cap(r.payload) > max(2*arrived, minBufferBytes) {
			t.Fatalf("after %d bytes, the buffer has %d", arrived, cap(r.payload))
		}
		if arrived == len(b) && (len(m.Payload) != 16<<20 || cap(m.Payload) != 16<<20) {
			t.Errorf("the message has %d bytes in a buffer of %d", len(m.Payload), cap(m.Payload))
		}
	}
}

// A message that is received whole is found and echoed without an allocation.
func TestWholeFramesAllocateNothing(t *testing.T) {
	var r Reader
	for _, size := range []int{0, 64, 1000, 70_000} {
		r.MaxMessageBytes = size + 1
		stream := AppendMasked(nil, Text, bytes.Repeat([]byte("a"), size), [4]byte{})
		stream = append(stream, AppendMasked(nil, Ping, []byte("ping"), [4]byte{})...)
		out := make([]byte, 0, MaxHeaderBytes+size)
		allocated := testing.AllocsPerRun(100, func() {
			m, n, err := r.Next(stream)
			out = AppendFrame(out[:0], m.Opcode, m.Payload)
			m, _, err2 := r.Next(stream[n:])
			if err != nil || err2 != nil || m.Opcode != Ping {
				t.Fatal(err, err2, m)
			}
		})
		if allocated != 0 {
			t.Errorf("a message of %d bytes allocates %v times", size, allocated)
		}
	}
}

// What a server appends is what a client's Reader finds.
func TestAppendedFramesAreRead(t *testing.T) {
	for _, size := range []int{0, 1, 125, 126, 127, 65535, 65536, 100_000} {
		payload := bytes.Repeat([]byte("é"), size/2+1)[:size/2*2]
		client := Reader{MaxMessageBytes: 1 << 20, FromServer: true}
		b := AppendFrame(nil, Text, payload)
		b = AppendFrame(b, Close, AppendClosePayload(nil, GoingAway, strings.Repeat("é", 100)))
		m, n, err := client.Next(b)
		if m.Opcode != Text || !bytes.Equal(m.Payload, payload) || err != nil {
			t.Fatalf("%d bytes: %d, %v", size, m.Opcode, err)
		}
		m, _, err = client.Next(b[n:])
		if m.Opcode != Close || m.Code != GoingAway || string(m.Payload[2:]) != strings.Repeat("é", 61) || err != nil {
			t.Fatalf("%d bytes: %+v, %v", size, m, err)
		}
		if _, _, err := client.Next(AppendMasked(nil, Text, payload, [4]byte{1})); !errors.Is(err, errMasked) {
			t.Errorf("a masked frame of a server: %v", err)
		}
	}
}

// The mask of a part of a payload is that of its position.
func TestMaskOfAPart(t *testing.T) {
	mask := [4]byte{1, 2, 4, 8}
	plain := make([]byte, 100)
	for from := range 10 {
		for to := from; to <= len(plain); to++ {
			b := slices.Clone(plain)
			applyMask(b[from:to], mask, from)
			for i := range b {
				want := byte(0)
				if i >= from && i < to {
					want = mask[i%4]
				}
				if b[i] != want {
					t.Fatalf("from %d to %d: byte %d is %d, want %d", from, to, i, b[i], want)
				}
			}
		}
	}
}

func BenchmarkReader(b *testing.B) {
	for _, op := range []Opcode{Text, Binary} {
		for _, size := range []int{16, 128, 1024, 65536} {
			b.Run(fmt.Sprintf("opcode=%d/bytes=%d", op, size), func(b *testing.B) {
				// With a zero mask the stream stays as it is; the benchmark masks it itself.
				stream := AppendMasked(nil, op, bytes.Repeat([]byte("a"), size), [4]byte{})
				r := Reader{MaxMessageBytes: size}
				b.SetBytes(int64(size))
				b.ReportAllocs()
				for b.Loop() {
					m, _, err := r.Next(stream)
					if err != nil || len(m.Payload) != size {
						b.Fatal(err)
					}
					applyMask(m.Payload, [4]byte{1, 2, 3, 4}, 0)
					applyMask(m.Payload, [4]byte{1, 2, 3, 4}, 0)
				}
			})
		}
	}
}

func BenchmarkAppendFrame(b *testing.B) {
	payload := make([]byte, 128)
	out := make([]byte, 0, 200)
	b.ReportAllocs()
	for b.Loop() {
		out = AppendFrame(out[:0], Binary, payload)
	}
}
