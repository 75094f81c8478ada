package tlsengine

import (
	"bytes"
	"crypto/tls"
	"io"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/pollux-io/pollux/internal/tlsengine/tlstest"
)

// A conversation checks a Conn against all that its peer has sent.
type conversation struct {
	t              *testing.T
	c              *Conn
	out, in        *tlstest.Half
	sent, received []byte
	back, backWant []byte // what the Conn has sent
	updates        int    // answers to KeyUpdate
}

// receive passes records on, and opens the answers.
func (v *conversation) receive(records []byte) {
	v.t.Helper()
	plain, err := v.c.receiveAll(records)
	if err != nil {
		v.t.Fatal(err)
	}
	v.received = append(v.received, plain...)
	if v.c.mode == InPlace {
		if f := fieldsOf(v.c.tls); f.rawInput.Cap() > 0 || f.input.Size() > 0 {
			v.t.Fatal("buffers are left")
		}
	}
}

func (v *conversation) answer(b []byte) {
	v.t.Helper()
	for len(b) > 0 {
		var kind byte
		var payload []byte
		kind, payload, b = v.in.Open(b)
		switch {
		case kind == tlstest.TypeApplication:
			v.back = append(v.back, payload...)
		case kind == tlstest.TypeHandshake && bytes.Equal(payload, tlstest.KeyUpdate(0)):
			v.updates++
			v.in.Update()
		default:
			v.t.Fatalf("a record of type %d: % x", kind, payload)
		}
	}
}

// TestTrafficWithKeyUpdatesTicketsAndFragments: random records of all kinds that a peer may send after the handshake.
func TestTrafficWithKeyUpdatesTicketsAndFragments(t *testing.T) {
	for seed := range uint64(10) {
		eachRaw(t, func(t *testing.T, c *Conn, out, in *tlstest.Half, client bool) {
			rnd := rand.New(rand.NewPCG(seed, 13))
			v := &conversation{t: t, c: c, out: out, in: in}
			useless, requested := 0, 0 // records in a row that do not advance, of at most 16
			for range 200 {
				action := rnd.IntN(8)
				if useless == 16 {
					action = 0
				}
				useless++
				switch action {
				default: // data
					b := randomBytes(rnd, 1+rnd.IntN(MaxPlaintextBytes))
					v.sent = append(v.sent, b...)
					v.receive(out.Seal(tlstest.TypeApplication, b, rnd.IntN(2)*rnd.IntN(MaxPlaintextBytes+1-len(b))))
					useless = 0
				case 3:
					v.receive(out.Seal(tlstest.TypeApplication, nil, rnd.IntN(100)))
				case 4: // a KeyUpdate in one record or two
					request := byte(rnd.IntN(2))
					requested += int(request)
					m, n := tlstest.KeyUpdate(request), 1+rnd.IntN(5)
					v.receive(out.Seal(tlstest.TypeHandshake, m[:n], 0))
					if n < len(m) {
						v.receive(out.Seal(tlstest.TypeHandshake, m[n:], 0))
					}
					out.Update()
				case 5:
					v.receive(out.Seal(tlstest.TypeAlert, []byte{1, 90}, 0)) // user_canceled
				case 6:
					if client {
						v.receive(out.Seal(tlstest.TypeHandshake, tlstest.Ticket, 3))
					} else {
						v.receive([]byte{20, 3, 3, 0, 1, 1}) // change_cipher_spec is ignored
					}
				}
				if rnd.IntN(3) == 0 {
					v.answer(c.TakeOutput(nil))
				}
				if rnd.IntN(3) == 0 {
					b := randomBytes(rnd, rnd.IntN(20000))
					v.backWant = append(v.backWant, b...)
					records, err := c.Send(nil, b)
					if err != nil {
						t.Fatal(err)
					}
					v.answer(records)
				}
			}
			v.answer(c.TakeOutput(nil))
			if !bytes.Equal(v.received, v.sent) || !bytes.Equal(v.back, v.backWant) || v.updates != requested {
				t.Fatalf("seed %d: %d of %d bytes, back %d of %d, %d of %d answers to KeyUpdate", seed,
					len(v.received), len(v.sent), len(v.back), len(v.backWant), v.updates, requested)
			}
			if _, err := c.receiveAll(out.Seal(tlstest.TypeAlert, []byte{1, 0}, 0)); err != io.EOF {
				t.Fatalf("after close_notify: %v", err)
			}
			if plain, err := c.receiveAll(out.Seal(tlstest.TypeApplication, []byte("late"), 0)); err != io.EOF || len(plain) > 0 {
				t.Fatalf("data after close_notify: %q, %v", plain, err)
			}
		})
	}
}

func TestRecordsThatTLSForbidsAreErrorsWithTheirAlerts(t *testing.T) {
	const unexpectedMessage, recordOverflow, decodeError, illegalParameter = 10, 22, 50, 47
	for name, test := range map[string]struct {
		records func(out *tlstest.Half) []byte
		alert   byte // 0: none
	}{
		"too long": {func(h *tlstest.Half) []byte {
			return h.Seal(tlstest.TypeApplication, make([]byte, MaxPlaintextBytes+1), 0)
		}, recordOverflow},
		"nothing but padding":          {func(h *tlstest.Half) []byte { return h.Seal(0, nil, 10) }, unexpectedMessage},
		"an unknown type":              {func(h *tlstest.Half) []byte { return h.Seal(99, []byte("x"), 0) }, unexpectedMessage},
		"an unknown handshake message": {func(h *tlstest.Half) []byte { return h.Seal(tlstest.TypeHandshake, []byte{99, 0, 0, 0}, 0) }, unexpectedMessage},
		"an empty handshake record":    {func(h *tlstest.Half) []byte { return h.Seal(tlstest.TypeHandshake, nil, 0) }, unexpectedMessage},
		"a malformed KeyUpdate":        {func(h *tlstest.Half) []byte { return h.Seal(tlstest.TypeHandshake, []byte{24, 0, 0, 0}, 0) }, decodeError},
		"a message after KeyUpdate": {func(h *tlstest.Half) []byte {
			return h.Seal(tlstest.TypeHandshake, append(tlstest.KeyUpdate(0), tlstest.KeyUpdate(0)...), 0)
		}, unexpectedMessage},
		"data within a message": {func(h *tlstest.Half) []byte {
			return append(h.Seal(tlstest.TypeHandshake, tlstest.KeyUpdate(0)[:2], 0), h.Seal(tlstest.TypeApplication, []byte("x"), 0)...)
		}, unexpectedMessage},
		"too many KeyUpdates": {func(h *tlstest.Half) (b []byte) {
			for range 17 {
				b = append(b, h.Seal(tlstest.TypeHandshake, tlstest.KeyUpdate(0), 0)...)
				h.Update()
			}
			return b
		}, unexpectedMessage},
		"too many empty records": {func(h *tlstest.Half) (b []byte) {
			for range 17 {
				b = append(b, h.Seal(tlstest.TypeApplication, nil, 0)...)
			}
			return b
		}, unexpectedMessage},
		"a message of 16 MB": {func(h *tlstest.Half) []byte { return h.Seal(tlstest.TypeHandshake, []byte{24, 0xff, 0xff, 0xff}, 0) }, 80},
		"an alert":           {func(h *tlstest.Half) []byte { return h.Seal(tlstest.TypeAlert, []byte{2, 40}, 0) }, 0},
		"half an alert":      {func(h *tlstest.Half) []byte { return h.Seal(tlstest.TypeAlert, []byte{2}, 0) }, unexpectedMessage},
	} {
		t.Run(name, func(t *testing.T) {
			eachRaw(t, func(t *testing.T, c *Conn, out, in *tlstest.Half, client bool) {
				plain, err := c.receiveAll(test.records(out))
				if err == nil || err == io.EOF || len(plain) > 0 {
					t.Fatalf("%q, %v", plain, err)
				}
				b := c.TakeOutput(nil)
				if test.alert == 0 {
					if len(b) > 0 {
						t.Fatalf("an alert is answered by % x", b)
					}
					return
				}
				if kind, payload, rest := in.Open(b); kind != tlstest.TypeAlert || !bytes.Equal(payload, []byte{2, test.alert}) || len(rest) > 0 {
					t.Fatalf("the answer is of type %d: %v and %d bytes", kind, payload, len(rest))
				}
			})
		})
	}
}

func TestNextBoundsRecordsByTheVersion(t *testing.T) {
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		r, _ := established(t, InPlace, false, version)
		largest := maxPayload13
		if version == tls.VersionTLS12 {
			largest = maxPayload12
		}
		header := func(n int) []byte { return []byte{23, 3, 3, byte(n >> 8), byte(n)} }
		if n, more := r.c.Next(header(largest)); n != 0 || more != largest {
			t.Errorf("the largest record: %d, %d more", n, more)
		}
		if n, more := r.c.Next(header(largest + 1)); n != recordHeaderBytes || more != 0 {
			t.Errorf("a larger record: %d, %d more", n, more)
		}
		if n, more := r.c.Next([]byte("HTTP/1.1 ")); n != recordHeaderBytes || more != 0 {
			t.Errorf("no record: %d, %d more", n, more)
		}
		if n, more := r.c.Next([]byte{23, 3, 1, 0, 99}); n != recordHeaderBytes || more != 0 {
			t.Errorf("another version: %d, %d more", n, more)
		}
		if _, err := r.c.Receive(header(largest + 1)); err == nil || !strings.Contains(err.Error(), "oversized") {
			t.Errorf("a larger record: %v", err)
		}
		r, _ = established(t, InPlace, false, version)
		if _, err := r.c.Receive([]byte{23, 3, 1, 0, 99}); err == nil || !strings.Contains(err.Error(), "version") {
			t.Errorf("another version: %v", err)
		}
	}
}

// FuzzRecords passes any bytes on as the records of an established connection, sealed or not: there is an error or
// plaintext, and no panic; and the Conn never holds memory for records.
func FuzzRecords(f *testing.F) {
	f.Add([]byte{1, 23, 5, 'h', 'e', 'l', 'l', 'o', 1, 22, 5, 24, 0, 0, 1, 1, 2, 23, 1, 'x'}, false, false)
	f.Add([]byte{1, 21, 2, 1, 0}, true, true)
	f.Add([]byte{0, 23, 3, 3, 0, 1, 7}, false, true)
	f.Add(append([]byte{1, 22, byte(len(tlstest.Ticket))}, tlstest.Ticket...), true, false)
	f.Fuzz(func(t *testing.T, program []byte, client, copying bool) {
		mode := InPlace
		if copying {
			mode = Copying
		}
		c, out, _ := rawPeer(t, mode, client)
		var err error
		for len(program) > 2 && err == nil {
			kind, n := program[1], min(int(program[2]), len(program)-3)
			payload := program[3 : 3+n]
			record := bytes.Clone(payload)
			if program[0]%4 > 0 { // in most cases authentic
				record = out.Seal(kind, payload, int(program[0]))
			}
			if kind == tlstest.TypeHandshake && len(payload) == 5 && payload[0] == 24 && program[0]%4 == 2 {
				out.Update()
			}
			program = program[3+n:]
			var plain []byte
			plain, err = c.receiveAll(record)
			if err == nil && kind == tlstest.TypeApplication && program != nil && len(plain) > len(record) {
				t.Fatalf("%d bytes of plaintext", len(plain))
			}
			if mode == InPlace {
				if f := fieldsOf(c.tls); f.rawInput.Cap() > 0 || f.input.Size() > 0 {
					t.Fatal("buffers are left")
				}
			}
		}
		if end := c.ReceiveEnd(); end == nil {
			t.Fatal("no end")
		}
	})
}
