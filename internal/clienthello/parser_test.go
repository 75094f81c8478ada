package clienthello

import (
	"bytes"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"slices"
	"strings"
	"testing"
	"time"
)

// wire is a net.Conn that reads the bytes given, and keeps those written.
type wire struct {
	in  *bytes.Reader
	out bytes.Buffer
}

func newWire(in []byte) *wire { return &wire{in: bytes.NewReader(in)} }

func (w *wire) Read(b []byte) (int, error)       { return w.in.Read(b) }
func (w *wire) Write(b []byte) (int, error)      { return w.out.Write(b) }
func (w *wire) Close() error                     { return nil }
func (w *wire) LocalAddr() net.Addr              { return nil }
func (w *wire) RemoteAddr() net.Addr             { return nil }
func (w *wire) SetDeadline(time.Time) error      { return nil }
func (w *wire) SetReadDeadline(time.Time) error  { return nil }
func (w *wire) SetWriteDeadline(time.Time) error { return nil }

var configs = map[string]*tls.Config{
	"a name":               {ServerName: "example.com"},
	"an address, no SNI":   {ServerName: "192.0.2.1"},
	"no name":              {InsecureSkipVerify: true},
	"a long name":          {ServerName: strings.Repeat("a.", 120) + "org"},
	"ALPN":                 {ServerName: "h2.example", NextProtos: []string{"h2", "http/1.1"}},
	"much ALPN":            {ServerName: "h2.example", NextProtos: slices.Repeat([]string{strings.Repeat("p", 200)}, 60)},
	"TLS 1.2 only":         {ServerName: "old.example", MaxVersion: tls.VersionTLS12},
	"TLS 1.3 only":         {ServerName: "new.example", MinVersion: tls.VersionTLS13},
	"TLS 1.0 only":         {ServerName: "ancient.example", MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS10},
	"all versions":         {ServerName: "all.example", MinVersion: tls.VersionTLS10},
	"a single curve":       {ServerName: "curve.example", CurvePreferences: []tls.CurveID{tls.CurveP256}},
	"tickets off":          {ServerName: "t.example", SessionTicketsDisabled: true},
	"an upper-case name":   {ServerName: "EXAMPLE.com"},
	"a name in Punycode":   {ServerName: "xn--bcher-kva.example"},
	"a cache of sessions":  {ServerName: "c.example", ClientSessionCache: tls.NewLRUClientSessionCache(1)},
	"a name with a dot":    {ServerName: "dot.example."},
	"a name of underlines": {ServerName: "_a._b.example"},
}

// firstFlight returns what Go's client sends first.
func firstFlight(t testing.TB, config *tls.Config) []byte {
	t.Helper()
	w := newWire(nil)
	if err := tls.Client(w, config).Handshake(); err == nil || w.out.Len() == 0 {
		t.Fatalf("the client sends nothing: %v", err)
	}
	return w.out.Bytes()
}

// seenByGo returns what crypto/tls's server reads of the bytes. ok is false if it reads no ClientHello.
func seenByGo(b []byte) (h Hello, ok bool) {
	server := tls.Server(newWire(b), &tls.Config{GetConfigForClient: func(info *tls.ClientHelloInfo) (*tls.Config, error) {
		h, ok = Hello{ServerName: info.ServerName, Protocols: info.SupportedProtos, Versions: info.SupportedVersions}, true
		return nil, io.EOF
	}})
	server.Handshake()
	return h, ok
}

// split puts the payloads of the records in b into records of the sizes that size returns.
func split(b []byte, size func() int) []byte {
	var payload, out []byte
	for rest := b; len(rest) > 0; {
		end := headerBytes + int(binary.BigEndian.Uint16(rest[3:]))
		payload = append(payload, rest[headerBytes:end]...)
		rest = rest[end:]
	}
	for len(payload) > 0 {
		n := min(size(), len(payload))
		out = append(out, b[0], b[1], b[2], byte(n>>8), byte(n))
		out = append(out, payload[:n]...)
		payload = payload[n:]
	}
	return out
}

// check fails unless a parser that gets b in the cuts given finds what crypto/tls does, at the last byte.
func check(t *testing.T, b []byte, cuts ...int) {
	t.Helper()
	want, ok := seenByGo(b)
	if !ok {
		t.Fatal("crypto/tls reads no ClientHello")
	}
	var p Parser
	for _, n := range cuts {
		if h, more, err := p.Parse(b[:n]); h != nil || err != nil || more <= 0 || n+more > len(b) {
			t.Fatalf("after %d of %d bytes: %+v, %d more, %v", n, len(b), h, more, err)
		}
	}
	h, more, err := p.Parse(b)
	if err != nil || h == nil || more != 0 {
		t.Fatalf("%d bytes: %+v, %d more, %v", len(b), h, more, err)
	}
	if h.ServerName != want.ServerName || !slices.Equal(h.Protocols, want.Protocols) || !slices.Equal(h.Versions, want.Versions) {
		t.Fatalf("%+v, crypto/tls reads %+v", *h, want)
	}
	if h.Bytes != len(b) || h.MessageBytes != len(b)-headerBytes*h.Records {
		t.Fatalf("%d bytes in %d records are reported as %+v", len(b), h.Records, *h)
	}
}

func TestParserReportsWhatCryptoTLSReads(t *testing.T) {
	for name, config := range configs {
		t.Run(name, func(t *testing.T) { check(t, firstFlight(t, config)) })
	}
}

func TestParserIsCompleteAtTheLastByteAndNotBefore(t *testing.T) {
	for name, config := range configs {
		t.Run(name, func(t *testing.T) {
			b := firstFlight(t, config)
			all := make([]int, len(b)-1)
			for i := range all {
				all[i] = i + 1
				if len(b) < 1000 {
					check(t, b, i+1) // one cut
				}
			}
			check(t, b, all...) // a byte at a time
		})
	}
}

func TestParserReadsEverySegmentationIntoRecords(t *testing.T) {
	b := firstFlight(t, configs["ALPN"])
	for n := 1; n < len(b)-headerBytes; n++ {
		first := true
		check(t, split(b, func() int { // two records, the first of n bytes
			if first {
				first = false
				return n
			}
			return len(b)
		}))
		check(t, split(b, func() int { return n })) // records of n bytes each
	}
	for seed := range uint64(200) {
		rnd := rand.New(rand.NewPCG(seed, 1))
		s := split(b, func() int { return 1 + rnd.IntN(40) })
		var cuts []int
		for at := rnd.IntN(50); at < len(s); at += 1 + rnd.IntN(50) {
			cuts = append(cuts, at)
		}
		check(t, s, cuts...)
	}
}

func TestParserTakesTheLargestMessageInRecordsOfOneByte(t *testing.T) {
	b := message(MaxMessageBytes - messageHeaderBytes)
	s := split(b, func() int { return 1 })
	var p Parser
	for n := 0; n < len(s); n += 1000 {
		if _, more, err := p.Parse(s[:n]); more <= 0 || err != nil {
			t.Fatalf("%d bytes: %d more, %v", n, more, err)
		}
	}
	if h, _, err := p.Parse(s); err != nil || h.Records != MaxMessageBytes || h.Bytes != 6*MaxMessageBytes || h.Bytes > MaxBytes {
		t.Fatalf("%+v, %v", h, err)
	}
}

// message returns a ClientHello whose body has the size given, padded by an unknown extension.
func message(body int) []byte {
	rest := body - 2 - randomBytes - 1 - 4 - 2 - 2 - 4
	m := []byte{1, byte(body >> 16), byte(body >> 8), byte(body), 3, 3}
	m = append(m, make([]byte, randomBytes)...)
	m = append(m, 0, 0, 2, 0x13, 1, 1, 0)
	m = binary.BigEndian.AppendUint16(m, uint16(rest+4))
	m = append(m, 0x7f, 0xff)
	m = binary.BigEndian.AppendUint16(m, uint16(rest))
	m = append(m, make([]byte, rest)...)
	var out []byte
	for len(m) > 0 {
		n := min(len(m), maxRecordPayload)
		out = append(out, recordHandshake, 3, 1, byte(n>>8), byte(n))
		out = append(out, m[:n]...)
		m = m[n:]
	}
	return out
}

func TestParserNeverAsksForMoreThanMaxBytes(t *testing.T) {
	// One byte of the message in each record but the last, which claims to be a full one.
	m := message(MaxMessageBytes - messageHeaderBytes)
	s := split(m, func() int { return 1 })
	s = s[:len(s)-6]
	s = append(s, recordHandshake, 3, 1, maxRecordPayload>>8, maxRecordPayload&0xff)
	var p Parser
	_, more, err := p.Parse(s)
	if err != nil || len(s)+more != MaxBytes {
		t.Fatalf("%d bytes and %d more, MaxBytes is %d: %v", len(s), more, MaxBytes, err)
	}
	if h, _, err := p.Parse(append(s, make([]byte, maxRecordPayload)...)); err != nil || h.Bytes != MaxBytes {
		t.Fatalf("%+v, %v", h, err)
	}
	_, _, err = new(Parser).Parse(message(MaxMessageBytes - messageHeaderBytes + 1)[:200])
	if err != nil {
		t.Fatalf("refused before the record is complete: %v", err)
	}
	if _, _, err = new(Parser).Parse(split(message(MaxMessageBytes - messageHeaderBytes + 1)[:16384+5], func() int { return 100 })[:105]); !errors.Is(err, ErrTooLarge) {
		t.Fatalf("one byte too long: %v", err)
	}
}

func TestParserReportsWhatIsNoClientHelloAtTheFirstHeader(t *testing.T) {
	for _, test := range []struct {
		bytes string
		want  error
	}{
		{"GET / HTTP/1.1\r\n", ErrNotTLS},
		{"SSH-2.0-OpenSSH_9.6\r\n", ErrNotTLS},
		{"\x80\x2e\x01\x00\x02", ErrNotTLS}, // SSLv2
		{"\x15\x03\x01\x00\x02\x01\x00", ErrNotTLS},
		{"\x16\x10\x00\x00\x05", ErrNotTLS},
		{"\x16\x03\x01\x00\x00", ErrMalformed},
		{"\x16\x03\x01\x40\x01", ErrMalformed},
		{"\x16\x03\x01\x00\x01\x02", ErrNotTLS}, // a ServerHello
		{"\x16\x03\x01\x00\x04\x01\x00\x00\x00", ErrMalformed},
	} {
		for n := range headerBytes {
			if h, more, err := new(Parser).Parse([]byte(test.bytes[:n])); h != nil || err != nil || more != headerBytes-n {
				t.Errorf("%q: %v, %d more, %v", test.bytes[:n], h, more, err)
			}
		}
		if h, more, err := new(Parser).Parse([]byte(test.bytes)); h != nil || more != 0 || !errors.Is(err, test.want) {
			t.Errorf("%q: %v, %d more, %v; want %v", test.bytes, h, more, err, test.want)
		}
	}
}

func TestParserReportsEncryptedClientHello(t *testing.T) {
	if h, _, err := new(Parser).Parse(withExtensions(0xfe0d, "x")); err != nil || !h.Encrypted {
		t.Fatalf("%+v, %v", h, err)
	}
	if h, _, err := new(Parser).Parse(withExtensions(0x7fff, "x")); err != nil || h.Encrypted {
		t.Fatalf("%+v, %v", h, err)
	}
}

// withExtensions returns a ClientHello with extensions: numbers, each followed by its body.
func withExtensions(list ...any) []byte {
	var e []byte
	for i := 0; i < len(list); i += 2 {
		body := list[i+1].(string)
		e = binary.BigEndian.AppendUint16(e, uint16(list[i].(int)))
		e = binary.BigEndian.AppendUint16(e, uint16(len(body)))
		e = append(e, body...)
	}
	m := append([]byte{3, 3}, make([]byte, randomBytes)...)
	m = append(m, 0, 0, 2, 0x13, 1, 1, 0)
	m = binary.BigEndian.AppendUint16(m, uint16(len(e)))
	m = append(m, e...)
	out := []byte{recordHandshake, 3, 1, byte((len(m) + 4) >> 8), byte(len(m) + 4), 1, 0, byte(len(m) >> 8), byte(len(m))}
	return append(out, m...)
}

func TestParserRefusesWhatCryptoTLSRefuses(t *testing.T) {
	valid := withExtensions(extServerName, "\x00\x04\x00\x00\x01a", extALPN, "\x00\x02\x01h", extSupportedVersions, "\x02\x03\x04")
	check(t, valid)
	for name, b := range map[string][]byte{
		"an extension twice":       withExtensions(7, "", 7, ""),
		"two names":                withExtensions(extServerName, "\x00\x08\x00\x00\x01a\x00\x00\x01b"),
		"an empty name":            withExtensions(extServerName, "\x00\x03\x00\x00\x00"),
		"a final dot":              withExtensions(extServerName, "\x00\x05\x00\x00\x02a."),
		"no names":                 withExtensions(extServerName, "\x00\x00"),
		"bytes after the names":    withExtensions(extServerName, "\x00\x04\x00\x00\x01ax"),
		"an empty protocol":        withExtensions(extALPN, "\x00\x01\x00"),
		"no protocols":             withExtensions(extALPN, "\x00\x00"),
		"bytes after protocols":    withExtensions(extALPN, "\x00\x02\x01hx"),
		"no versions":              withExtensions(extSupportedVersions, "\x00"),
		"half a version":           withExtensions(extSupportedVersions, "\x03\x03\x04\x03"),
		"bytes after the versions": withExtensions(extSupportedVersions, "\x02\x03\x04x"),
	} {
		if _, ok := seenByGo(b); ok {
			t.Errorf("%s: crypto/tls takes it", name)
		}
		if h, _, err := new(Parser).Parse(b); h != nil || !errors.Is(err, ErrMalformed) {
			t.Errorf("%s: %+v, %v", name, h, err)
		}
	}
	for n := range len(valid) - 9 { // every truncation of the body, with lengths that fit it
		b := slices.Clone(valid[:9+n])
		binary.BigEndian.PutUint16(b[3:], uint16(n+4))
		binary.BigEndian.PutUint16(b[7:], uint16(n))
		_, ok := seenByGo(b)
		if h, _, err := new(Parser).Parse(b); (h != nil) != ok || (err != nil) == ok {
			t.Errorf("%d bytes of body: %+v, %v, crypto/tls takes it: %v", n, h, err, ok)
		}
	}
}

func TestParserAllocatesNothingBeforeTheMessageIsComplete(t *testing.T) {
	b := split(firstFlight(t, configs["ALPN"]), func() int { return 3 })
	if n := testing.AllocsPerRun(100, func() {
		var p Parser
		for n := range len(b) {
			p.Parse(b[:n])
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
