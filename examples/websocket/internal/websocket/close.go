package websocket

import (
	"encoding/binary"
	"fmt"
	"unicode/utf8"
)

// A CloseCode states why a connection ends (RFC 6455, 7.4, and IANA's registry).
type CloseCode uint16

// The codes that this package and its programs use.
const (
	NormalClosure   CloseCode = 1000
	GoingAway       CloseCode = 1001 // the server shuts down
	ProtocolError   CloseCode = 1002
	NoStatus        CloseCode = 1005 // never sent: the Close frame had no code
	AbnormalClosure CloseCode = 1006 // never sent: there was no Close frame
	InvalidPayload  CloseCode = 1007 // text that is not UTF-8
	PolicyViolation CloseCode = 1008
	MessageTooBig   CloseCode = 1009
	InternalError   CloseCode = 1011
	TryAgainLater   CloseCode = 1013
)

const (
	lastRegistered = 1014 // 1012 to 1014 are in IANA's registry
	firstLibrary   = 3000 // 3000 to 3999 are registered by libraries, 4000 to 4999 are private
	lastPrivate    = 4999
)

// isValid reports whether a Close frame may have the code.
func (c CloseCode) isValid() bool {
	switch {
	case c < NormalClosure, c == 1004, c == NoStatus, c == AbnormalClosure:
		return false
	default:
		return c <= lastRegistered || c >= firstLibrary && c <= lastPrivate
	}
}

// An Error is a violation of the protocol, or of a limit, by the peer. The connection must be
// closed with its code.
type Error struct {
	Code   CloseCode
	Reason string
}

// Error implements error.
func (e *Error) Error() string { return fmt.Sprintf("websocket: %s (%d)", e.Reason, e.Code) }

var (
	errReservedBits      = &Error{ProtocolError, "a frame has reserved bits set"}
	errReservedOpcode    = &Error{ProtocolError, "a frame has a reserved opcode"}
	errNotMasked         = &Error{ProtocolError, "a frame of a client is not masked"}
	errMasked            = &Error{ProtocolError, "a frame of a server is masked"}
	errFragmentedControl = &Error{ProtocolError, "a control frame is fragmented"}
	errLongControl       = &Error{ProtocolError, "a control frame has more than 125 bytes"}
	errLength            = &Error{ProtocolError, "a frame's length is not in its shortest form, or has its highest bit set"}
	errNothingToContinue = &Error{ProtocolError, "a continuation frame has no message to continue"}
	errNotContinued      = &Error{ProtocolError, "a message begins before the one before has ended"}
	errText              = &Error{InvalidPayload, "a text message is not UTF-8"}
	errCloseText         = &Error{InvalidPayload, "the reason of a Close frame is not UTF-8"}
	errCloseLength       = &Error{ProtocolError, "a Close frame has a payload of one byte"}
	errCloseCode         = &Error{ProtocolError, "a Close frame has an invalid code"}
)

// checkClose returns the code of a Close frame's payload, or NoStatus.
func checkClose(payload []byte) (CloseCode, error) {
	switch len(payload) {
	case 0:
		return NoStatus, nil
	case 1:
		return 0, errCloseLength
	}
	code := CloseCode(binary.BigEndian.Uint16(payload))
	switch {
	case !code.isValid():
		return 0, errCloseCode
	case !utf8.Valid(payload[2:]):
		return 0, errCloseText
	}
	return code, nil
}

// AppendClosePayload appends the payload of a Close frame. It is empty for NoStatus. A reason that
// is too long is cut between two characters.
func AppendClosePayload(dst []byte, code CloseCode, reason string) []byte {
	if code == NoStatus {
		return dst
	}
	if over := len(reason) - (MaxControlBytes - 2); over > 0 {
		end := MaxControlBytes - 2
		for end > 0 && !utf8.RuneStart(reason[end]) {
			end--
		}
		reason = reason[:end]
	}
	return append(binary.BigEndian.AppendUint16(dst, uint16(code)), reason...)
}
