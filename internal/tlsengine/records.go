package tlsengine

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

const (
	recordHeaderBytes = 5
	maxPayload12      = 1<<14 + 2048 // RFC 5246, section 6.2.3
	maxPayload13      = 1<<14 + 256  // RFC 8446, section 5.2

	// MaxRecordBytes is the length of the largest record, with its header.
	MaxRecordBytes = recordHeaderBytes + maxPayload12

	// MaxPlaintextBytes is what one record can carry: RFC 8446, section 5.1.
	MaxPlaintextBytes = 1 << 14

	// minWritePayload is less than crypto/tls puts into any record but the last: it begins with records that fit a
	// TCP segment, unless tls.Config.DynamicRecordSizingDisabled is set.
	minWritePayload = 1024
	// maxRecordOverhead is more than a record is longer than its plaintext: header, explicit nonce, MAC, padding.
	maxRecordOverhead = 128
)

// Next returns the length of the record that b begins with, or how many bytes more there must be at least for the
// next call to return another result. A header that crypto/tls refuses is a record of its own, as it would be a
// mistake to wait for as many bytes as it claims; Receive then returns the error.
func (c *Conn) Next(b []byte) (n, more int) {
	if len(b) < recordHeaderBytes {
		return 0, recordHeaderBytes - len(b)
	}
	payload := binary.BigEndian.Uint16(b[3:])
	if binary.BigEndian.Uint16(b[1:]) != c.wireVersion || payload > c.maxPayload {
		return recordHeaderBytes, 0
	}
	n = recordHeaderBytes + int(payload)
	if len(b) < n {
		return 0, n - len(b)
	}
	return n, 0
}

// Receive takes one record, whose length is what Next returns, and returns its plaintext: none if the record carries
// a message to TLS itself. The plaintext is in the record's memory, which Receive overwrites. It does not keep it.
//
// The error is io.EOF after the peer's close_notify; more can be sent then (RFC 8446, section 6.1). Any other error is
// permanent in both directions. In each case TakeOutput may have something to send: an answer or an alert. crypto/tls calls
// ClientSessionCache.Put and Time of the Config here; the error after a panic of these is a *PanicError.
func (c *Conn) Receive(record []byte) (plain []byte, err error) {
	if c.err != nil {
		return nil, c.err
	}
	returned := false
	defer func() {
		if !returned {
			plain, err = nil, c.fail("receive a TLS record", newPanicError(recover()))
			if c.mode == InPlace {
				fieldsOf(c.tls).release() // the record's memory is the caller's
			}
		}
	}()
	record = record[:len(record):len(record)]
	if c.mode == InPlace {
		plain, err = c.receiveInPlace(record)
	} else {
		plain, err = c.receiveCopying(record)
	}
	returned = true
	switch {
	case err == errWouldBlock:
	case err == io.EOF:
		c.err = io.EOF
	case err != nil:
		c.fail("receive a TLS record", err)
	}
	return plain, c.err
}

// fail ends both directions.
func (c *Conn) fail(what string, err error) error {
	c.err, c.failed = fmt.Errorf("%s: %w", what, err), true
	return c.err
}

var errLeftOver = errors.New("crypto/tls has not read the whole record")

// receiveCopying has crypto/tls copy the record, and copy the plaintext into the record's memory.
func (c *Conn) receiveCopying(record []byte) ([]byte, error) {
	c.current = record
	n, err := c.tls.Read(record)
	left := len(c.current)
	c.current = nil
	if left > 0 && (err == nil || err == errWouldBlock) {
		return nil, errLeftOver
	}
	return record[:n], err
}

// ReceiveEnd reports that the peer sends no more bytes. It returns io.EOF if it has sent close_notify, ErrTruncated
// if not: also if the last record is incomplete, and the caller has kept its beginning. An earlier error of Receive is
// returned again.
func (c *Conn) ReceiveEnd() error {
	if c.err == nil {
		c.err = ErrTruncated
	}
	return c.err
}

// TakeOutput appends to dst what Receive has produced: alerts, answers to KeyUpdate. It must be sent before what Send
// returns; Send and CloseNotify take it themselves.
func (c *Conn) TakeOutput(dst []byte) []byte {
	if len(c.out) > 0 {
		dst = append(dst, c.out...)
		c.out = nil
	}
	return dst
}

// Send appends the records of plaintext to dst. The length of dst is extended by at most MaxSendBytes, and what
// TakeOutput returns: with as much capacity it allocates nothing. The error is permanent: ErrWriteClosed after
// CloseNotify, or that of Receive. With TLS 1.2 and a cipher suite of CBC crypto/tls reads the Rand of the Config here; the
// error after a panic of it is a *PanicError, and nothing is appended.
func (c *Conn) Send(dst, plaintext []byte) (out []byte, err error) {
	switch {
	case c.failed:
		return dst, c.err
	case c.closed:
		return dst, ErrWriteClosed
	}
	c.out = c.TakeOutput(dst)
	returned := false
	defer func() {
		if !returned {
			c.out = nil
			out, err = dst, c.fail(sending(plaintext), newPanicError(recover()))
		}
	}()
	_, err = c.tls.Write(plaintext)
	returned = true
	out, c.out = c.out, nil
	if err != nil {
		return out, c.fail(sending(plaintext), err)
	}
	return out, nil
}

func sending(plaintext []byte) string { return fmt.Sprintf("send %d bytes by TLS", len(plaintext)) }

// MaxSendBytes returns how many bytes Send needs at most for n bytes of plaintext.
func MaxSendBytes(n int) int {
	if n == 0 {
		return 0
	}
	return n + (n/minWritePayload+2)*maxRecordOverhead
}

// CloseNotify appends to dst what TakeOutput returns and close_notify: the end of what this side sends. Calls after
// the first, or after a permanent error, append no close_notify. Up to TLS 1.2 the peer may answer by ending its side,
// too (RFC 5246, section 7.2.1).
func (c *Conn) CloseNotify(dst []byte) (out []byte) {
	dst = c.TakeOutput(dst)
	if c.failed || c.closed {
		return dst
	}
	c.closed = true
	c.out = dst
	returned := false
	defer func() {
		if !returned {
			c.out = nil
			c.fail("send close_notify", newPanicError(recover()))
			out = dst
		}
	}()
	c.tls.CloseWrite() // fails only if Write does
	returned = true
	out, c.out = c.out, nil
	return out
}
