package main

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
)

// patient bounds every wait for what must happen.
const patient = 5 * time.Minute

// A client is the other end of a connection, in terms of bytes: it shares no code with the server,
// so that a mistake is not made on both sides.
type client struct {
	net.Conn
	in *bufio.Reader
}

// The key of RFC 6455, 1.3, and what a server makes of it.
const (
	sampleKey    = "dGhlIHNhbXBsZSBub25jZQ=="
	sampleAccept = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
)

func request(path string) string {
	return "GET " + path + " HTTP/1.1\r\nHost: server.example\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: " + sampleKey +
		"\r\nSec-WebSocket-Version: 13\r\n\r\n"
}

// open sends a request on a connection, and checks the response.
func open(t testing.TB, conn net.Conn, path string) *client {
	t.Helper()
	conn.SetDeadline(time.Now().Add(patient))
	c := &client{conn, bufio.NewReader(conn)}
	io.WriteString(c, request(path))
	r, err := http.ReadResponse(c.in, nil)
	if err != nil {
		t.Fatal(err)
	}
	if r.StatusCode != 101 || r.Header.Get("Sec-WebSocket-Accept") != sampleAccept || !strings.EqualFold(r.Header.Get("Upgrade"), "websocket") ||
		!strings.EqualFold(r.Header.Get("Connection"), "upgrade") {
		t.Fatalf("the response is %v, %v", r.Status, r.Header)
	}
	return c
}

const (
	opContinue, opText, opBinary = 0, 1, 2
	opClose, opPing, opPong      = 8, 9, 10

	fin = 0x80
)

// frame returns a client's frame: the first byte, and a payload, which it masks.
func frame(first byte, payload string) []byte {
	b := []byte{first}
	switch n := len(payload); {
	case n < 126:
		b = append(b, 0x80|byte(n))
	case n < 1<<16:
		b = binary.BigEndian.AppendUint16(append(b, 0x80|126), uint16(n))
	default:
		b = binary.BigEndian.AppendUint64(append(b, 0x80|127), uint64(n))
	}
	mask := [4]byte{0xA1, 0x00, 0x5C, 0xFF}
	b = append(b, mask[:]...)
	for i := range len(payload) {
		b = append(b, payload[i]^mask[i%4])
	}
	return b
}

func text(payload string) []byte { return frame(fin|opText, payload) }

func closing(code uint16, reason string) []byte {
	return frame(fin|opClose, string(binary.BigEndian.AppendUint16(nil, code))+reason)
}

// reply is a frame of the server.
type reply struct {
	op      byte
	payload string
}

func (r reply) String() string {
	if r.op == opClose && len(r.payload) >= 2 {
		return fmt.Sprintf("Close %d %.60q", r.code(), r.payload[2:])
	}
	return fmt.Sprintf("opcode %d, %d bytes %.60q", r.op, len(r.payload), r.payload)
}

// code returns the code of a Close frame, or 0.
func (r reply) code() uint16 {
	if r.op != opClose || len(r.payload) < 2 {
		return 0
	}
	return binary.BigEndian.Uint16([]byte(r.payload))
}

// next returns the next frame. One that a server must not send is an error.
func (c *client) next() (reply, error) {
	var head [2]byte
	if _, err := io.ReadFull(c.in, head[:]); err != nil {
		return reply{}, err
	}
	length, r := uint64(head[1]), reply{op: head[0] & 15}
	if head[0]&0xF0 != fin || head[1] >= 0x80 {
		return reply{}, fmt.Errorf("a frame begins with % x: it is fragmented or masked, or has reserved bits", head)
	}
	var extended [8]byte
	if n := map[uint64]int{126: 2, 127: 8}[length]; n > 0 {
		if _, err := io.ReadFull(c.in, extended[8-n:]); err != nil {
			return reply{}, err
		}
		if length = binary.BigEndian.Uint64(extended[:]); length < 126 || n == 8 && length < 1<<16 {
			return reply{}, fmt.Errorf("a length of %d has %d bytes", length, n)
		}
	}
	payload := make([]byte, length)
	_, err := io.ReadFull(c.in, payload)
	r.payload = string(payload)
	return r, err
}

func (c *client) expect(t testing.TB, want reply) {
	t.Helper()
	if got, err := c.next(); got != want || err != nil {
		t.Fatalf("got %v, %v, want %v", got, err, want)
	}
}

// expectClose checks that a Close frame with one of the codes is next (0: without a code), and then
// the end of the stream.
func (c *client) expectClose(t testing.TB, codes ...uint16) {
	t.Helper()
	got, err := c.next()
	if err != nil || got.op != opClose {
		t.Fatalf("got %v, %v, want a Close frame", got, err)
	}
	found := false
	for _, code := range codes {
		found = found || got.code() == code
	}
	if !found {
		t.Fatalf("got %v, want one of the codes %d", got, codes)
	}
	if b, err := c.in.ReadByte(); !errors.Is(err, io.EOF) {
		t.Fatalf("after the Close frame: %#x, %v, want the end", b, err)
	}
}
