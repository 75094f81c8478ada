package tlsengine

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha256"
	"crypto/tls"
	"encoding/binary"
	"encoding/hex"
	"strings"
	"testing"
)

const (
	typeAlert       = 21
	typeHandshake   = 22
	typeApplication = 23
)

// half is one direction of a connection of TLS 1.3 with TLS_AES_128_GCM_SHA256: RFC 8446, sections 5.2, 5.3, 7.2, 7.3.
type half struct {
	t      testing.TB
	secret []byte
	aead   cipher.AEAD
	iv     []byte
	seq    uint64
}

func newHalf(t testing.TB, secret []byte) *half {
	h := &half{t: t}
	h.use(secret)
	return h
}

func (h *half) use(secret []byte) {
	block, err := aes.NewCipher(h.expand(secret, "key", 16))
	if err != nil {
		h.t.Fatal(err)
	}
	if h.aead, err = cipher.NewGCM(block); err != nil {
		h.t.Fatal(err)
	}
	h.secret, h.iv, h.seq = secret, h.expand(secret, "iv", 12), 0
}

// update is what both sides do after KeyUpdate.
func (h *half) update() { h.use(h.expand(h.secret, "traffic upd", sha256.Size)) }

func (h *half) expand(secret []byte, label string, n int) []byte {
	label = "tls13 " + label
	b, err := hkdf.Expand(sha256.New, secret, string([]byte{0, byte(n), byte(len(label))})+label+"\x00", n)
	if err != nil {
		h.t.Fatal(err)
	}
	return b
}

func (h *half) nonce() []byte {
	n := bytes.Clone(h.iv)
	binary.BigEndian.PutUint64(n[4:], binary.BigEndian.Uint64(n[4:])^h.seq)
	h.seq++
	return n
}

// seal returns a record with padding.
func (h *half) seal(kind byte, payload []byte, padding int) []byte {
	inner := append(append(bytes.Clone(payload), kind), make([]byte, padding)...)
	n := len(inner) + h.aead.Overhead()
	header := []byte{typeApplication, 3, 3, byte(n >> 8), byte(n)}
	return h.aead.Seal(header, h.nonce(), inner, header)
}

// open returns what a record has, and the rest of b.
func (h *half) open(b []byte) (kind byte, payload, rest []byte) {
	n := recordHeaderBytes + int(binary.BigEndian.Uint16(b[3:]))
	inner, err := h.aead.Open(nil, h.nonce(), b[recordHeaderBytes:n], b[:recordHeaderBytes])
	if err != nil {
		h.t.Fatalf("open a record: %v", err)
	}
	inner = bytes.TrimRight(inner, "\x00")
	return inner[len(inner)-1], inner[:len(inner)-1], b[n:]
}

// rawPeer returns a Conn, and both directions of its peer, which can send any record.
func rawPeer(t testing.TB, mode Mode, client bool) (c *Conn, out, in *half) {
	t.Helper()
	serverConfig, clientConfig := configs(tls.VersionTLS13)
	var keys bytes.Buffer
	serverConfig.SessionTicketsDisabled, clientConfig.KeyLogWriter = true, &keys
	s, cl, err := pair(Options{Config: serverConfig, mode: mode}, Options{Config: clientConfig, mode: mode})
	if err != nil {
		t.Fatal(err)
	}
	if s.ConnectionState().CipherSuite != tls.TLS_AES_128_GCM_SHA256 {
		t.Skip("skipped: this processor has no instructions for AES, so crypto/tls chooses a cipher that this test does not have")
	}
	secrets := map[string]*half{}
	for line := range strings.Lines(keys.String()) {
		if f := strings.Fields(line); len(f) == 3 {
			secret, err := hex.DecodeString(f[2])
			if err != nil {
				t.Fatal(err)
			}
			secrets[f[0]] = newHalf(t, secret)
		}
	}
	c, out, in = s, secrets["CLIENT_TRAFFIC_SECRET_0"], secrets["SERVER_TRAFFIC_SECRET_0"]
	if client {
		c, out, in = cl, in, out
	}
	return c, out, in
}

// eachRaw runs a test with a peer that sends any records, for both modes and roles.
func eachRaw(t *testing.T, test func(t *testing.T, c *Conn, out, in *half, client bool)) {
	for _, mode := range []Mode{InPlace, Copying} {
		for _, client := range []bool{false, true} {
			role := "server"
			if client {
				role = "client"
			}
			t.Run(mode.String()+"/"+role, func(t *testing.T) {
				c, out, in := rawPeer(t, mode, client)
				test(t, c, out, in, client)
			})
		}
	}
}

func keyUpdate(request byte) []byte { return []byte{24, 0, 0, 1, request} }

// ticket is a NewSessionTicket: RFC 8446, section 4.6.1.
var ticket = []byte{4, 0, 0, 15, 0, 0, 1, 0, 1, 2, 3, 4, 1, 7, 0, 1, 9, 0, 0}
