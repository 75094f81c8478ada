package tlstest

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/binary"
	"testing"
)

// Types of records: RFC 8446, section 5.1.
const (
	TypeAlert       = 21
	TypeHandshake   = 22
	TypeApplication = 23

	headerBytes = 5
)

// Half is one direction of a connection of TLS 1.3 with TLS_AES_128_GCM_SHA256: RFC 8446, sections 5.2, 5.3, 7.2, 7.3.
type Half struct {
	t      testing.TB
	secret []byte
	aead   cipher.AEAD
	iv     []byte
	seq    uint64
}

// NewHalf returns a direction with the secret of a line of tls.Config.KeyLogWriter.
func NewHalf(t testing.TB, secret []byte) *Half {
	h := &Half{t: t}
	h.use(secret)
	return h
}

func (h *Half) use(secret []byte) {
	block, err := aes.NewCipher(h.expand(secret, "key", 16))
	if err != nil {
		h.t.Fatal(err)
	}
	if h.aead, err = cipher.NewGCM(block); err != nil {
		h.t.Fatal(err)
	}
	h.secret, h.iv, h.seq = secret, h.expand(secret, "iv", 12), 0
}

// Update is what both sides do after KeyUpdate.
func (h *Half) Update() { h.use(h.expand(h.secret, "traffic upd", sha256.Size)) }

func (h *Half) expand(secret []byte, label string, n int) []byte {
	label = "tls13 " + label
	b, err := hkdf.Expand(sha256.New, secret, string([]byte{0, byte(n), byte(len(label))})+label+"\x00", n)
	if err != nil {
		h.t.Fatal(err)
	}
	return b
}

func (h *Half) nonce() []byte {
	n := bytes.Clone(h.iv)
	binary.BigEndian.PutUint64(n[4:], binary.BigEndian.Uint64(n[4:])^h.seq)
	h.seq++
	return n
}

// Seal returns a record with padding.
func (h *Half) Seal(kind byte, payload []byte, padding int) []byte {
	inner := append(append(bytes.Clone(payload), kind), make([]byte, padding)...)
	n := len(inner) + h.aead.Overhead()
	header := []byte{TypeApplication, 3, 3, byte(n >> 8), byte(n)}
	return h.aead.Seal(header, h.nonce(), inner, header)
}

// Open returns what a record has, and the rest of b.
func (h *Half) Open(b []byte) (kind byte, payload, rest []byte) {
	n := headerBytes + int(binary.BigEndian.Uint16(b[3:]))
	inner, err := h.aead.Open(nil, h.nonce(), b[headerBytes:n], b[:headerBytes])
	if err != nil {
		h.t.Fatalf("open a record: %v", err)
	}
	inner = bytes.TrimRight(inner, "\x00")
	return inner[len(inner)-1], inner[:len(inner)-1], b[n:]
}

// KeyUpdate returns the message of RFC 8446, section 4.6.3: request is 1 if the peer shall answer with its own.
func KeyUpdate(request byte) []byte { return []byte{24, 0, 0, 1, request} }

// Ticket is a NewSessionTicket: RFC 8446, section 4.6.1.
var Ticket = []byte{4, 0, 0, 15, 0, 0, 1, 0, 1, 2, 3, 4, 1, 7, 0, 1, 9, 0, 0}
