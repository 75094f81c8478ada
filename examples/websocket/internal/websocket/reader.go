package websocket

import "fmt"

// A Message is a message, or a control frame, of the peer.
type Message struct {
	// Opcode is Text, Binary, Close, Ping or Pong; in the zero Message it is Continuation.
	Opcode Opcode
	// Payload is valid until the next call of Next, and until the bytes given to Next become
	// invalid. It may be changed. That of a Text is UTF-8.
	Payload []byte
	// Code is the code of a Close, or NoStatus.
	Code CloseCode
}

// A Reader finds messages in the bytes that a peer sends. A frame that is received whole, and is a
// message by itself, is unmasked and returned in place: that allocates and copies nothing. Others
// are collected in a buffer, which grows with the bytes that have arrived, not with what a header
// announces, and which is dropped with the message: between messages a Reader holds no memory.
type Reader struct {
	// MaxMessageBytes is the maximum length of a message, in all its frames. It must be positive.
	MaxMessageBytes int
	// FromServer reports whether the peer is a server, whose frames are not masked.
	FromServer bool

	// The message in progress: the opcode of its first frame, and the payload received so far. opcode is Continuation
	// while no message is in progress.
	opcode  Opcode
	payload []byte
	text    textChecker

	// The data frame in progress: frame.length is what has not arrived, 0 between frames, and at how much has.
	frame header
	at    int
}

// minBufferBytes is the size of the first buffer of a message, unless it is known to be shorter.
const minBufferBytes = 512

// Next returns the next message in b, and how many bytes of b are consumed: the rest is to be given
// to Next again, with the bytes that follow it. If it returns the zero Message, more bytes are
// needed; at most 131 bytes are unconsumed then, those of a header or a control frame. An error is
// an *Error, and final.
func (r *Reader) Next(b []byte) (m Message, consumed int, err error) {
	for {
		if r.frame.length == 0 {
			h, n, err := parseHeader(b[consumed:], !r.FromServer)
			if n == 0 {
				return Message{}, consumed, err
			}
			whole := h.length <= int64(len(b)-consumed-n)
			if h.opcode.isControl() {
				if !whole {
					return Message{}, consumed, nil
				}
				m, err = control(h, b[consumed+n:])
				return m, consumed + n + int(h.length), err
			}
			if err := r.check(h); err != nil {
				return Message{}, consumed, err
			}
			consumed += n
			if whole && h.fin && r.opcode == Continuation {
				m, err = inPlace(h, b[consumed:])
				return m, consumed + int(h.length), err
			}
			r.begin(h)
		}
		piece := b[consumed:]
		if int64(len(piece)) > r.frame.length {
			piece = piece[:r.frame.length]
		}
		consumed += len(piece)
		switch done, err := r.add(piece); {
		case err != nil:
			return Message{}, consumed, err
		case done:
			return r.end(), consumed, nil
		case r.frame.length > 0:
			return Message{}, consumed, nil
		}
	}
}

// control returns a control frame whose payload is at the beginning of b.
func control(h header, b []byte) (m Message, err error) {
	m = Message{Opcode: h.opcode, Payload: b[:h.length:h.length]}
	applyMask(m.Payload, h.mask, 0)
	if h.opcode == Close {
		m.Code, err = checkClose(m.Payload)
	}
	return m, err
}

// check checks the header of a data frame against the message in progress.
func (r *Reader) check(h header) error {
	switch {
	case h.opcode == Continuation && r.opcode == Continuation:
		return errNothingToContinue
	case h.opcode != Continuation && r.opcode != Continuation:
		return errNotContinued
	case h.length > int64(r.MaxMessageBytes-len(r.payload)):
		return &Error{MessageTooBig, fmt.Sprintf("a message has more than %d bytes", r.MaxMessageBytes)}
	}
	return nil
}

// inPlace returns the message of a frame whose payload is at the beginning of b.
func inPlace(h header, b []byte) (Message, error) {
	payload := b[:h.length:h.length]
	applyMask(payload, h.mask, 0)
	if h.opcode == Text {
		var t textChecker
		if !t.add(payload) || !t.isWhole() {
			return Message{}, errText
		}
	}
	return Message{Opcode: h.opcode, Payload: payload}, nil
}

func (r *Reader) begin(h header) {
	if h.opcode != Continuation {
		r.opcode = h.opcode // r.text is at the beginning: it was, or the text before ended with a whole character
	}
	r.frame, r.at = h, 0
}

// add adds a piece of the frame in progress to the message. It reports whether that is complete.
func (r *Reader) add(piece []byte) (done bool, err error) {
	r.reserve(len(piece))
	from := len(r.payload)
	r.payload = append(r.payload, piece...)
	added := r.payload[from:]
	applyMask(added, r.frame.mask, r.at)
	r.at += len(piece)
	r.frame.length -= int64(len(piece))
	done = r.frame.fin && r.frame.length == 0
	if r.opcode == Text && (!r.text.add(added) || done && !r.text.isWhole()) {
		return false, errText
	}
	return done, nil
}

// reserve makes space for n bytes of the frame in progress. The buffer doubles, up to the length of
// the message where that is known.
func (r *Reader) reserve(n int) {
	need := len(r.payload) + n
	if need <= cap(r.payload) {
		return
	}
	size := min(max(need, 2*cap(r.payload), minBufferBytes), r.MaxMessageBytes)
	if r.frame.fin {
		size = min(size, len(r.payload)+int(r.frame.length))
	}
	r.payload = append(make([]byte, 0, size), r.payload...)
}

// end returns the message, and drops it.
func (r *Reader) end() Message {
	m := Message{Opcode: r.opcode, Payload: r.payload}
	r.opcode, r.payload = Continuation, nil
	return m
}
