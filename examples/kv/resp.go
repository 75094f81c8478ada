package main

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"strconv"
)

// The Redis serialization protocol, version 2 (https://redis.io/docs/latest/develop/reference/protocol-spec/).
// A command is an array of bulk strings,
//
//	*2\r\n $3\r\n GET\r\n $1\r\n k\r\n    (without the blanks)
//
// or a line of words, for people at a terminal: an inline command.

const (
	// maxArgs bounds the arguments of a command, and so the memory of parser.args.
	maxArgs = 64 << 10
	// maxInline is the longest line of an inline command, in bytes.
	maxInline = 64 << 10
	// maxLength is the longest line that announces a length: the type, the digits of an
	// int64, its sign and CRLF fit well.
	maxLength = 32
	// keptArgs: room for so many arguments stays with a connection from one command to
	// the next.
	keptArgs = 8
)

// A parser finds the commands in a stream. It copies nothing: an argument is a span
// of the bytes that it was given.
//
// It remembers how far it got. Were it to begin anew whenever more of a command comes,
// a client that sends byte by byte would cost time quadratic in the command's length.
type parser struct {
	maxBulk int // longest argument, in bytes

	args    []span
	missing int // arguments still to come; 0: between commands
	bulk    int // length of the next one; -1: not announced yet
	pos     int // what lies before it is done with
}

// span is where an argument lies, relative to the start of its command.
type span struct{ from, to int }

// maxCommand is the longest command, in bytes. As much unread data must be allowed on
// a connection, or a command could be awaited that can never come.
func (p *parser) maxCommand() int { return maxCommand(p.maxBulk) }

func maxCommand(maxBulk int) int { return 2*maxBulk + maxInline }

// next looks at b, which begins where the last command ended, for a whole command and
// returns its length; its arguments are in args, until the next call. It returns 0
// while there is no whole command; then b must come again, with what follows it.
// After an error, nothing more can be made of the stream.
func (p *parser) next(b []byte) (n int, err error) {
	if p.missing == 0 {
		if len(b) == 0 {
			return 0, nil
		}
		p.args = p.args[:0]
		if b[0] != '*' {
			return p.inline(b)
		}
		if n, err = p.array(b); p.missing == 0 {
			return n, err
		}
	}
	for p.missing > 0 {
		if whole, err := p.argument(b); !whole {
			return 0, err
		}
	}
	n, p.pos = p.pos, 0
	return n, nil
}

// array reads how many arguments a command has. One that has none is whole: n is its
// length.
func (p *parser) array(b []byte) (n int, err error) {
	count, end, err := length(b, 1)
	switch {
	case errors.Is(err, errTooLong):
		return 0, protocolError("too big mbulk count string")
	case err != nil || count > maxArgs:
		return 0, protocolError("invalid multibulk length")
	case end == 0 || count <= 0:
		return end, nil
	}
	p.missing, p.bulk, p.pos = int(count), -1, end
	return 0, nil
}

// argument reads the next argument. It returns false if b ends before it does.
func (p *parser) argument(b []byte) (whole bool, err error) {
	if p.bulk < 0 {
		if p.pos == len(b) {
			return false, nil
		}
		if b[p.pos] != '$' {
			return false, protocolError(fmt.Sprintf("expected '$', got '%c'", printable(b[p.pos])))
		}
		n, end, err := length(b, p.pos+1)
		switch {
		case errors.Is(err, errTooLong):
			return false, protocolError("too big bulk count string")
		case err != nil || n < 0 || n > int64(p.maxBulk):
			return false, protocolError("invalid bulk length")
		case end == 0:
			return false, nil
		case end+int(n)+len(crlf) > p.maxCommand():
			return false, protocolError("too big command")
		}
		p.bulk, p.pos = int(n), end
	}
	end := p.pos + p.bulk
	if end+len(crlf) > len(b) {
		return false, nil
	}
	if b[end] != '\r' || b[end+1] != '\n' {
		return false, protocolError("bulk string is longer than announced")
	}
	p.args = append(p.args, span{p.pos, end})
	p.missing--
	p.bulk, p.pos = -1, end+len(crlf)
	return true, nil
}

const crlf = "\r\n"

var (
	errTooLong   = errors.New("line is too long")
	errNotNumber = errors.New("not a number")
)

// length reads a number and CRLF at b[at:]. end, where they end, is 0 while they are
// not all there.
func length(b []byte, at int) (n int64, end int, err error) {
	line := b[at:min(len(b), at+maxLength)]
	cr := bytes.IndexByte(line, '\r')
	switch {
	case cr < 0 && len(line) == maxLength:
		return 0, 0, errTooLong
	case cr < 0 || at+cr+1 == len(b):
		return 0, 0, nil
	}
	n, ok := parseInt(line[:cr])
	if !ok || b[at+cr+1] != '\n' {
		return 0, 0, errNotNumber
	}
	return n, at + cr + len(crlf), nil
}

// inline splits a line into words. Between commands, pos is how much of the line has
// been searched for its end.
func (p *parser) inline(b []byte) (n int, err error) {
	lf := bytes.IndexByte(b[p.pos:], '\n')
	switch {
	case lf < 0 && len(b) <= maxInline:
		p.pos = len(b)
		return 0, nil
	case lf < 0 || p.pos+lf > maxInline:
		return 0, protocolError("too big inline request")
	}
	end := p.pos + lf
	p.pos = 0
	for at := 0; ; {
		for at < end && isBlank(b[at]) {
			at++
		}
		if at == end {
			return end + 1, nil
		}
		word, next, ok := inlineWord(b[:end], at)
		if !ok {
			return 0, protocolError("unbalanced quotes in request")
		}
		p.args = append(p.args, word)
		at = next
	}
}

// inlineWord finds the word that begins at b[at], and where to go on. It may be
// quoted. There are no escapes in quotes, for they could not be undone without a copy.
func inlineWord(b []byte, at int) (word span, next int, ok bool) {
	if quote := b[at]; quote == '"' || quote == '\'' {
		n := bytes.IndexByte(b[at+1:], quote)
		if n < 0 || bytes.IndexByte(b[at+1:at+1+n], '\\') >= 0 {
			return span{}, 0, false
		}
		word, next = span{at + 1, at + 1 + n}, at+n+2
		return word, next, next == len(b) || isBlank(b[next])
	}
	next = at
	for next < len(b) && !isBlank(b[next]) {
		next++
	}
	return span{at, next}, next, true
}

func isBlank(c byte) bool { return c == ' ' || c == '\t' || c == '\r' }

// trim gives back the memory of a command with very many arguments.
func (p *parser) trim() {
	if p.missing == 0 && cap(p.args) > keptArgs {
		p.args = nil
	}
}

// protocolError is why a stream cannot be understood. The client is told, and the
// connection ends.
type protocolError string

// Error implements error.
func (e protocolError) Error() string { return "Protocol error: " + string(e) }

// printable keeps a client's bytes from breaking the lines of a reply or a log.
func printable(c byte) byte {
	if c < ' ' || c > '~' {
		return '?'
	}
	return c
}

// parseInt reads a decimal number as Redis does: no plus sign, no leading zeros, no
// blanks. strconv.ParseInt is more generous.
func parseInt(b []byte) (n int64, ok bool) {
	digits := b
	negative := len(b) > 0 && b[0] == '-'
	if negative {
		digits = b[1:]
	}
	if len(digits) == 0 || len(digits) > 19 || digits[0] == '0' && len(b) > 1 {
		return 0, false
	}
	var u uint64 // 19 digits fit
	for _, d := range digits {
		if d < '0' || d > '9' {
			return 0, false
		}
		u = u*10 + uint64(d-'0')
	}
	switch {
	case negative && u <= 1<<63:
		return int64(-u), true
	case !negative && u <= math.MaxInt64:
		return int64(u), true
	}
	return 0, false
}

// maxReply is the longest answer to one command, in bytes: room for any one value, and
// for MGET and KEYS within reason.
func maxReply(maxBulk int) int { return 64<<20 + maxBulk }

// A reply is where answers are appended.
type reply struct {
	b   []byte
	max int  // b must not be longer
	cut bool // it would have been
}

// grow says whether n bytes more fit.
func (r *reply) grow(n int) bool {
	if len(r.b)+n > r.max {
		r.cut = true
	}
	return !r.cut
}

// raw appends an answer that is encoded already, as most short ones are.
func (r *reply) raw(s string) { r.b = append(r.b, s...) }

func (r *reply) ok()  { r.raw("+OK\r\n") }
func (r *reply) nil() { r.raw("$-1\r\n") }

func (r *reply) status(s string) { r.line('+', s) }
func (r *reply) error(s string)  { r.line('-', s) }

func (r *reply) line(kind byte, s string) {
	r.b = append(r.b, kind)
	r.b = append(r.b, s...)
	r.b = append(r.b, crlf...)
}

func (r *reply) int(n int64) { r.number(':', n) }
func (r *reply) array(n int) { r.number('*', int64(n)) }

func (r *reply) number(kind byte, n int64) {
	r.b = append(r.b, kind)
	r.b = strconv.AppendInt(r.b, n, 10)
	r.b = append(r.b, crlf...)
}

func (r *reply) bool(is bool) {
	if is {
		r.raw(":1\r\n")
	} else {
		r.raw(":0\r\n")
	}
}

// bulk and text append a string of any bytes.
func (r *reply) bulk(s []byte) { appendBulk(r, s) }
func (r *reply) text(s string) { appendBulk(r, s) }

func appendBulk[S []byte | string](r *reply, s S) {
	if r.grow(len(s) + maxLength) {
		r.number('$', int64(len(s)))
		r.b = append(r.b, s...)
		r.b = append(r.b, crlf...)
	}
}
