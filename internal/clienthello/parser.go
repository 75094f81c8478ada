// Package clienthello reads the first message of a TLS client while it arrives: whether it is complete, and what it
// asks for. So a server decides before it starts a handshake: a client that has sent half a ClientHello costs
// nothing but its bytes, and a connection can be routed by its server name without being decrypted.
//
// It decides nothing that crypto/tls decides: bytes that are no valid ClientHello are passed on to crypto/tls, which
// answers with its alert. What it reports of a valid one is what crypto/tls has in a ClientHelloInfo.
package clienthello

import (
	"encoding/binary"
	"errors"
	"fmt"
)

const (
	// MaxMessageBytes bounds the handshake message, with its header. Clients send 200 to 2,000 bytes, more if a
	// session ticket has the client's certificates. Longer ones are left to crypto/tls, whose bound is 64 KiB.
	MaxMessageBytes = 16 << 10

	// MaxBytes bounds the received bytes for which Parse may return more: a message in records of one byte each is
	// six times its size, and the record that ends it may be a full one.
	MaxBytes = (headerBytes+1)*(MaxMessageBytes-1) + headerBytes + maxRecordPayload

	headerBytes        = 5 // RFC 8446, section 5.1
	messageHeaderBytes = 4
	maxRecordPayload   = 1 << 14

	recordHandshake    = 22
	messageClientHello = 1
	// impossibleVersion is more than any version of TLS: crypto/tls refuses such records, too.
	impossibleVersion = 0x1000
)

var (
	// ErrNotTLS is returned for bytes that do not begin as a TLS client's do, such as a request of HTTP.
	ErrNotTLS = errors.New("not a TLS handshake")
	// ErrMalformed is returned for a ClientHello whose fields contradict their lengths or RFC 8446.
	ErrMalformed = errors.New("malformed ClientHello")
	// ErrTooLarge is returned for a ClientHello longer than MaxMessageBytes.
	ErrTooLarge = fmt.Errorf("ClientHello longer than %d bytes", MaxMessageBytes)
)

// Hello is what a ClientHello asks for, and where it ends.
type Hello struct {
	ServerName string   // RFC 6066; "" if the client sends none
	Protocols  []string // ALPN, RFC 7301, in the client's order
	// Versions has the versions that the client supports. Without the extension supported_versions (RFC 8446,
	// section 4.2.1) it has those up to the message's version.
	Versions []uint16
	// Encrypted reports whether the client offers Encrypted Client Hello: ServerName and Protocols may then be those
	// of the outer message. Clients also offer it at random.
	Encrypted bool

	Bytes        int // length of the records that the message is in
	MessageBytes int // length of the message with its header
	Records      int // in how many records
}

// Parser reads a ClientHello in as many steps as its bytes arrive in. Its zero value is ready. All steps together
// take time in proportion to the bytes.
type Parser struct {
	next    int // where the next record begins
	message int // bytes of the message in the records before
	records int
	length  int // of the message, with its header; 0 while unknown
	header  [messageHeaderBytes]byte
}

// Parse takes all that was received so far, which extends what the previous call got. It returns a Hello if the
// ClientHello is complete, and with it the record that it ends in. Otherwise it returns how many bytes more there
// must be at least before it can return something else, or the reason why no ClientHello can follow: ErrNotTLS,
// ErrMalformed or ErrTooLarge, wrapped. After that it must not be called again.
//
// The first five bytes, a record's header, are not judged before all of them are there: crypto/tls needs as many.
func (p *Parser) Parse(b []byte) (hello *Hello, more int, err error) {
	for {
		rest := b[p.next:]
		if len(rest) < headerBytes {
			return nil, headerBytes - len(rest), nil
		}
		n, err := p.payload(rest)
		if err != nil {
			return nil, 0, err
		}
		if len(rest) < headerBytes+n {
			return nil, headerBytes + n - len(rest), nil
		}
		if err := p.add(rest[headerBytes : headerBytes+n]); err != nil {
			return nil, 0, err
		}
		p.next += headerBytes + n
		if p.length > 0 && p.message >= p.length {
			hello, err := p.finish(b)
			return hello, 0, err
		}
	}
}

// payload returns the length of the record whose header b begins with.
func (p *Parser) payload(b []byte) (int, error) {
	version := binary.BigEndian.Uint16(b[1:])
	if b[0] != recordHandshake || version >= impossibleVersion {
		return 0, fmt.Errorf("record of type %d and version %#04x: %w", b[0], version, ErrNotTLS)
	}
	n := int(binary.BigEndian.Uint16(b[3:]))
	if n == 0 || n > maxRecordPayload {
		return 0, fmt.Errorf("record of %d bytes: %w", n, ErrMalformed)
	}
	return n, nil
}

// add counts a record's payload, and learns the message's length from the first four bytes.
func (p *Parser) add(payload []byte) error {
	if p.message < messageHeaderBytes {
		copy(p.header[p.message:], payload)
	}
	p.message += len(payload)
	p.records++
	if p.header[0] != messageClientHello {
		return fmt.Errorf("handshake message of type %d: %w", p.header[0], ErrNotTLS)
	}
	if p.length == 0 && p.message >= messageHeaderBytes {
		p.length = messageHeaderBytes + int(p.header[1])<<16 + int(binary.BigEndian.Uint16(p.header[2:]))
		if p.length > MaxMessageBytes {
			return fmt.Errorf("%d bytes: %w", p.length, ErrTooLarge)
		}
	}
	return nil
}

// finish parses the message, which is complete in b.
func (p *Parser) finish(b []byte) (*Hello, error) {
	h := &Hello{Bytes: p.next, MessageBytes: p.length, Records: p.records}
	message := b[headerBytes:]
	if p.records > 1 {
		message = joined(b[:p.next], p.message)
	}
	if !h.parse(reader(message[messageHeaderBytes:p.length])) {
		return nil, ErrMalformed
	}
	return h, nil
}

// joined returns the payloads of the records in b, whose headers were checked.
func joined(b []byte, size int) []byte {
	message := make([]byte, 0, size)
	for len(b) > 0 {
		end := headerBytes + int(binary.BigEndian.Uint16(b[3:]))
		message = append(message, b[headerBytes:end]...)
		b = b[end:]
	}
	return message
}
