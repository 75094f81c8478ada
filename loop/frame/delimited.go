package frame

import (
	"bytes"
	"fmt"
)

// MaxDelimiterBytes is the largest length of a delimiter.
const MaxDelimiterBytes = 256

// Delimited is the format of frames that end with a delimiter. The content of a frame does not
// include it.
type Delimited struct {
	// Delimiter ends a frame: "\n", "\r\n", "\x00", or any other 1 to MaxDelimiterBytes bytes.
	Delimiter string
	// MaxBytes is the maximum length of a frame without its delimiter, in bytes, from 1 to
	// MaxFrameBytes.
	MaxBytes int
	// TrimCR removes one "\r" before the delimiter, which MaxBytes does not count: with "\n" as
	// delimiter, lines end with LF or CRLF.
	TrimCR bool
}

// Lines returns the format of lines that end with "\n" or "\r\n" and have up to maxBytes bytes
// before that, from 1 to MaxFrameBytes: Lines panics if maxBytes is out of this range. Append ends
// lines with "\n"; to send lines that end with "\r\n", use a Delimited with that delimiter.
func Lines(maxBytes int) *Delimited {
	d := &Delimited{Delimiter: "\n", MaxBytes: maxBytes, TrimCR: true}
	must(d.validate())
	return d
}

// Next implements Format. The error is a *TooLongError if the frame has more than MaxBytes bytes,
// which is known when MaxEncodedBytes bytes contain no delimiter; it wraps ErrBadArgument if a
// field of d is out of range.
//
// Each call searches b from its start. For long frames that arrive in many parts see Scanner.
func (d *Delimited) Next(b []byte) (n int, frame []byte, err error) { return d.next(b, 0) }

// next is Next, for a b that has no delimiter that ends in its first searched bytes.
func (d *Delimited) next(b []byte, searched int) (n int, frame []byte, err error) {
	if !d.valid() {
		return 0, nil, d.validate()
	}
	n = d.find(b, searched)
	if n == 0 {
		if len(b) >= d.maxEncodedBytes() {
			return 0, nil, d.tooLong(0)
		}
		return 0, nil, nil
	}
	frame = d.trim(b[:n])
	if len(frame) > d.MaxBytes {
		return 0, nil, d.tooLong(0)
	}
	return n, frame, nil
}

// find returns the end of the first delimiter in b that ends after b[:searched], or 0. It searches
// for the delimiter's last byte: so a delimiter that arrives in two parts needs no search in the
// part before.
func (d *Delimited) find(b []byte, searched int) int {
	last := len(d.Delimiter) - 1
	for at := max(searched, last); at < len(b); {
		i := bytes.IndexByte(b[at:], d.Delimiter[last])
		if i < 0 {
			return 0
		}
		at += i + 1
		if last == 0 || string(b[at-1-last:at]) == d.Delimiter {
			return at
		}
	}
	return 0
}

// trim returns the content of an encoded frame.
func (d *Delimited) trim(encoded []byte) []byte {
	end := len(encoded) - len(d.Delimiter)
	if d.TrimCR && end > 0 && encoded[end-1] == '\r' {
		end--
	}
	return encoded[:end:end]
}

// Append appends payload and the delimiter to dst, and returns the extended slice; with an error it
// returns dst. The error is a *TooLongError if payload has more than MaxBytes bytes; a
// *DelimiterError if the receiver would find the end of the frame elsewhere, because payload
// contains the delimiter, forms one together with it, or with TrimCR ends with "\r"; it wraps
// ErrBadArgument if a field of d is out of range.
func (d *Delimited) Append(dst, payload []byte) ([]byte, error) {
	if err := d.validate(); err != nil {
		return dst, err
	}
	if len(payload) > d.MaxBytes {
		return dst, d.tooLong(len(payload))
	}
	b := append(append(dst, payload...), d.Delimiter...)
	encoded := b[len(dst):]
	if n := d.find(encoded, 0); n != len(encoded) || len(d.trim(encoded)) != len(payload) {
		return dst, &DelimiterError{Delimiter: d.Delimiter, Bytes: len(payload), End: len(d.trim(encoded[:n]))}
	}
	return b, nil
}

// MaxEncodedBytes returns the length of the longest frame with its delimiter, in bytes: the minimum
// of loop.Config.MaxUnreadBytes. It panics if a field of d is out of range.
func (d *Delimited) MaxEncodedBytes() int {
	must(d.validate())
	return d.maxEncodedBytes()
}

func (d *Delimited) maxEncodedBytes() int {
	n := d.MaxBytes + len(d.Delimiter)
	if d.TrimCR {
		n += len("\r")
	}
	return n
}

func (d *Delimited) tooLong(payloadBytes int) error {
	return &TooLongError{Format: "Delimited", Bytes: uint64(payloadBytes), MaxBytes: d.MaxBytes}
}

// valid reports whether validate returns nil. The compiler inlines it.
func (d *Delimited) valid() bool {
	return uint(len(d.Delimiter)-1) < MaxDelimiterBytes && validMax(d.MaxBytes)
}

func (d *Delimited) validate() error {
	switch {
	case d.valid():
		return nil
	case !validMax(d.MaxBytes):
		return errMax("Delimited", d.MaxBytes)
	}
	return fmt.Errorf("frame: %w: Delimited.Delimiter has %d bytes; it must have from 1 to %d", ErrBadArgument, len(d.Delimiter), MaxDelimiterBytes)
}
