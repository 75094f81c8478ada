package tlsengine

import (
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"reflect"
	"unsafe"
)

// A Mode is how records are passed to crypto/tls.
type Mode uint8

const (
	// InPlace decrypts records in the caller's memory. A Conn has no buffers for records.
	InPlace Mode = iota + 1
	// Copying uses nothing but crypto/tls's API. A Conn then keeps buffers as large as its largest record.
	Copying
)

// String returns the name of the mode.
func (m Mode) String() string {
	switch m {
	case InPlace:
		return "in place"
	case Copying:
		return "copying"
	}
	return fmt.Sprintf("mode %d", uint8(m))
}

// fields are the buffers of a tls.Conn:
//
//   - rawInput has the bytes that were read and not processed. readRecord reads from the transport only if rawInput
//     does not have the whole record, and decrypts the record where it is.
//   - input has the plaintext of the last record, in rawInput's memory.
//   - hand has a copy of handshake messages that are not complete.
//
// crypto/tls uses them within Handshake and Read only, and those are called by one goroutine at a time.
type fields struct {
	rawInput *bytes.Buffer
	input    *bytes.Reader
	hand     *bytes.Buffer
}

// offsets has where the fields are in a tls.Conn. layoutErr is why they cannot be found: their names or types differ
// in the version of Go.
var offsets, layoutErr = layoutOf(reflect.TypeFor[tls.Conn]())

type layout struct{ rawInput, input, hand uintptr }

func layoutOf(t reflect.Type) (l layout, err error) {
	if t.Kind() != reflect.Struct {
		return layout{}, fmt.Errorf("%v is not a struct", t)
	}
	for _, f := range []struct {
		name   string
		want   reflect.Type
		offset *uintptr
	}{
		{"rawInput", reflect.TypeFor[bytes.Buffer](), &l.rawInput},
		{"input", reflect.TypeFor[bytes.Reader](), &l.input},
		{"hand", reflect.TypeFor[bytes.Buffer](), &l.hand},
	} {
		field, ok := t.FieldByName(f.name)
		switch {
		case !ok || len(field.Index) != 1:
			return layout{}, fmt.Errorf("%v has no field %s", t, f.name)
		case field.Type != f.want:
			return layout{}, fmt.Errorf("the field %s of %v is a %v, not a %v", f.name, t, field.Type, f.want)
		case field.Offset+field.Type.Size() > t.Size():
			return layout{}, fmt.Errorf("the field %s of %v ends after the struct", f.name, t)
		}
		*f.offset = field.Offset
	}
	return l, nil
}

// fieldsOf may be called only if layoutErr is nil.
func fieldsOf(c *tls.Conn) fields {
	p := unsafe.Pointer(c)
	return fields{
		rawInput: (*bytes.Buffer)(unsafe.Add(p, offsets.rawInput)),
		input:    (*bytes.Reader)(unsafe.Add(p, offsets.input)),
		hand:     (*bytes.Buffer)(unsafe.Add(p, offsets.hand)),
	}
}

// release drops the memory of the buffers that are empty. input points into rawInput: none is left without the other.
func (f fields) release() {
	*f.input = bytes.Reader{}
	*f.rawInput = bytes.Buffer{}
	if f.hand.Len() == 0 {
		*f.hand = bytes.Buffer{}
	}
}

var errNotInPlace = errors.New("crypto/tls has not decrypted the record in place")

// receiveInPlace makes the record crypto/tls's rawInput, has it decrypted there, and takes the plaintext out of
// input without a copy: one byte by Read, and all after UnreadByte.
func (c *Conn) receiveInPlace(record []byte) ([]byte, error) {
	f := fieldsOf(c.tls)
	*f.rawInput = *bytes.NewBuffer(record)
	n, err := c.tls.Read(c.one[:])
	var plain []byte
	if n > 0 {
		f.input.UnreadByte() // cannot fail after a read
		f.input.WriteTo((*sink)(c))
		plain, c.current = c.current, nil
	}
	left := f.rawInput.Len()
	f.release()
	switch {
	case left > 0 && (err == nil || err == errWouldBlock):
		return nil, errLeftOver
	case n > 0 && !within(plain, record):
		return nil, errNotInPlace
	}
	return plain, err
}

// within reports whether the memory of b is a part of outer's.
func within(b, outer []byte) bool {
	at := uintptr(unsafe.Pointer(unsafe.SliceData(b))) - uintptr(unsafe.Pointer(unsafe.SliceData(outer)))
	return len(b) > 0 && at <= uintptr(len(outer)) && uintptr(len(b)) <= uintptr(len(outer))-at
}

// sink is a Conn as bytes.Reader.WriteTo sees it: it keeps the slice that it gets.
type sink Conn

func (s *sink) Write(p []byte) (int, error) {
	s.current = p
	return len(p), nil
}
