package main

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"strconv"
	"unsafe"

	"github.com/pollux-io/pollux/loop/frame"
)

// The Redis serialization protocol, version 2 (https://redis.io/docs/latest/develop/reference/protocol-spec/).
// A command is an array of bulk strings,
//
//	*2\r\n $3\r\n GET\r\n $1\r\n k\r\n    (without the blanks)
//
// or a line of words, for users at a terminal: an inline command.

const (
	// maxArgs bounds the arguments of a command, and so the memory of parser.args.
	maxArgs = 64 << 10
	// maxInline is the longest line of an inline command, in bytes, without its end.
	maxInline = 64 << 10
	// maxLength is the longest line that announces a length: enough for the type, an int64
	// and CRLF.
	maxLength = 32
	// keptArgs is the capacity for arguments that a connection keeps from one command to
	// the next.
	keptArgs = 8
)

var (
	// inlineLines end with LF or CRLF.
	inlineLines = frame.Lines(maxInline)
	// lengths are the lines that announce a length, after their type. As in Redis, the CR ends the
	// number; what follows it is checked then.
	lengths = &frame.Delimited{Delimiter: "\r", MaxBytes: maxLength - 1}
)

// A parser finds the commands in a stream. It copies nothing: an argument is a span
// of the input.
//
// It remembers its position. If it began again whenever more bytes are received,
// a client that sends byte by byte would cost time quadratic in the command's length.
type parser struct {
	maxBulk int // longest argument, in bytes

	args    []span
	missing int // number of missing arguments; 0: between commands
	bulk    int // length of the next argument; -1: not announced yet
	pos     int // the input before it is parsed

	lines frame.Scanner // of inline commands

	skipping bool   // the command is refused: its bytes are skipped
	unquoted []byte // the words of an inline command with quotes
}

// span is the position of an argument, relative to the start of its command.
type span struct{ from, to int }

func newParser(maxBulk int) parser {
	return parser{maxBulk: maxBulk, lines: frame.Scanner{Format: inlineLines}}
}

// spanBytes is the size of a span.
const spanBytes = int(unsafe.Sizeof(span{}))

// maxCommand returns the maximum length of a command, in bytes. MaxUnreadBytes of a connection
// must be at least that, or a long command could never be received completely.
func (p *parser) maxCommand() int { return maxCommand(p.maxBulk) }

func maxCommand(maxBulk int) int { return 2*maxBulk + maxInline }

// next parses b, which begins where the last command ended. If b has a complete command, next
// returns its length; its arguments are in args, until the next call. Otherwise it returns 0,
// and the next call must get b again, with the bytes that follow it. After an error, the
// rest of the stream cannot be parsed.
func (p *parser) next(b []byte) (n int, err error) {
	if p.missing == 0 {
		if len(b) == 0 {
			return 0, nil
		}
		p.args, p.unquoted = p.args[:0], nil
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

// array reads the number of arguments of a command. A command with none is complete: n is its
// length.
func (p *parser) array(b []byte) (n int, err error) {
	count, end, err := length(b, 1)
	switch {
	case isTooLong(err):
		return 0, protocolError("too big mbulk count string")
	case err != nil || count > maxArgs:
		return 0, protocolError("invalid multibulk length")
	case end == 0 || count <= 0:
		return end, nil
	}
	p.missing, p.bulk, p.pos = int(count), -1, end
	return 0, nil
}

// argument reads the next argument. It returns false if b ends before the argument.
func (p *parser) argument(b []byte) (whole bool, err error) {
	if p.bulk < 0 {
		if announced, err := p.announce(b); !announced {
			return false, err
		}
	}
	end := p.pos + p.bulk
	if end+len(crlf) > len(b) {
		return false, nil
	}
	if b[end] != '\r' || b[end+1] != '\n' {
		return false, errLongBulk
	}
	p.args = append(p.args, span{p.pos, end})
	p.missing--
	p.bulk, p.pos = -1, end+len(crlf)
	return true, nil
}

// announce reads the length of the next argument. It returns false if b ends before the
// length.
func (p *parser) announce(b []byte) (whole bool, err error) {
	if p.pos == len(b) {
		return false, nil
	}
	if b[p.pos] != '$' {
		return false, protocolError(fmt.Sprintf("expected '$', got '%c'", printable(b[p.pos])))
	}
	n, end, err := length(b, p.pos+1)
	switch {
	case isTooLong(err):
		return false, protocolError("too big bulk count string")
	case err != nil || n < 0 || n > int64(p.maxBulk):
		return false, protocolError("invalid bulk length")
	case end == 0:
		return false, nil
	case end+int(n)+len(crlf) > p.maxCommand():
		return false, protocolError("too big command")
	}
	p.bulk, p.pos = int(n), end
	return true, nil
}

// wanted returns how many bytes of the stream must be kept until the command at the start of b
// can run, as far as is known yet; kept is the additional memory of the parser.
func (p *parser) wanted(b []byte) (bytes, kept int) {
	bytes = len(b)
	if p.missing > 0 && p.bulk >= 0 {
		bytes = max(bytes, p.pos+p.bulk+len(crlf))
	}
	return bytes, cap(p.args) * spanBytes
}

// refuse makes the parser skip the incomplete command, instead of keeping it. It
// returns false if that is not possible: before the first argument is announced, and
// in an inline command.
func (p *parser) refuse() bool {
	if p.missing == 0 {
		return false
	}
	p.skipping, p.args = true, nil
	return true
}

// skip skips the bytes of a refused command in b. It returns their number, and whether
// the command has ended. The next call must get the rest of b again.
func (p *parser) skip(b []byte) (n int, done bool, err error) {
	for p.missing > 0 {
		if p.bulk < 0 {
			switch announced, err := p.announce(b); {
			case err != nil:
				return 0, false, err
			case !announced:
				n, p.pos = p.pos, 0
				return n, false, nil
			}
		}
		if have := len(b) - p.pos; have < p.bulk+len(crlf) {
			part := min(have, p.bulk)
			n = p.pos + part
			p.bulk, p.pos = p.bulk-part, 0
			return n, false, nil
		}
		end := p.pos + p.bulk
		if b[end] != '\r' || b[end+1] != '\n' {
			return 0, false, errLongBulk
		}
		p.missing--
		p.bulk, p.pos = -1, end+len(crlf)
	}
	n, p.pos, p.skipping = p.pos, 0, false
	return n, true, nil
}

const crlf = "\r\n"

const errLongBulk protocolError = "bulk string is longer than announced"

var errNotNumber = errors.New("not a number")

// isTooLong reports whether a line is longer than its maximum.
func isTooLong(err error) bool {
	if err == nil {
		return false
	}
	var e *frame.TooLongError // allocated by As
	return errors.As(err, &e)
}

// length reads a number and CRLF at b[at:], and returns the number and its end; end is 0 if
// they are incomplete.
func length(b []byte, at int) (n int64, end int, err error) {
	size, number, err := lengths.Next(b[at:])
	lf := at + size
	if err != nil || size == 0 || lf == len(b) {
		return 0, 0, err
	}
	n, ok := parseInt(number)
	if !ok || b[lf] != '\n' {
		return 0, 0, errNotNumber
	}
	return n, lf + 1, nil
}

// inline splits a line into words, as Redis does (sdssplitargs).
//
// The words of a line without quotes are spans of it. The words of a line with quotes are
// unquoted into memory of the parser, and are spans of that: see bytes.
func (p *parser) inline(b []byte) (n int, err error) {
	n, line, err := p.lines.Next(b)
	switch {
	case isTooLong(err):
		return 0, protocolError("too big inline request")
	case n == 0 || err != nil:
		return 0, err
	}
	if bytes.ContainsAny(line, `"'`) {
		if !p.unquote(line) {
			return 0, protocolError("unbalanced quotes in request")
		}
		return n, nil
	}
	for at := 0; ; {
		for at < len(line) && isSpace(line[at]) {
			at++
		}
		if at == len(line) {
			return n, nil
		}
		from := at
		for at < len(line) && !isBlank(line[at]) {
			at++
		}
		p.args = append(p.args, span{from, at})
	}
}

// bytes returns the memory of which the arguments of the command b are spans.
func (p *parser) bytes(b []byte) []byte {
	if p.unquoted != nil {
		return p.unquoted
	}
	return b
}

// unquote splits a line with quotes into words. It returns false if the quotes are not
// balanced, or a quoted part is not followed by a space.
func (p *parser) unquote(line []byte) bool {
	p.unquoted = make([]byte, 0, len(line)) // an unquoted line is not longer
	for at := 0; ; {
		for at < len(line) && isSpace(line[at]) {
			at++
		}
		if at == len(line) {
			return true
		}
		from := len(p.unquoted)
		for at < len(line) && !isBlank(line[at]) {
			c := line[at]
			at++
			if c != '"' && c != '\'' {
				p.unquoted = append(p.unquoted, c)
				continue
			}
			n, ok := p.unquoteUntil(c, line[at:])
			if at += n; !ok || at < len(line) && !isSpace(line[at]) {
				return false
			}
		}
		p.args = append(p.args, span{from, len(p.unquoted)})
	}
}

// unquoteUntil decodes the escapes of the quoted part at the start of b, and returns its
// length, including the closing quote.
func (p *parser) unquoteUntil(quote byte, b []byte) (n int, ok bool) {
	for n < len(b) {
		c := b[n]
		n++
		switch {
		case c == quote:
			return n, true
		case c != '\\' || n == len(b):
		case quote == '\'':
			if b[n] == quote { // the only escape there
				c = quote
				n++
			}
		case b[n] == 'x' && n+2 < len(b) && isHex(b[n+1]) && isHex(b[n+2]):
			c = fromHex(b[n+1])<<4 | fromHex(b[n+2])
			n += 3
		default:
			c = escaped(b[n])
			n++
		}
		p.unquoted = append(p.unquoted, c)
	}
	return n, false
}

// escaped returns the meaning of a backslash and c between double quotes.
func escaped(c byte) byte {
	switch c {
	case 'n':
		return '\n'
	case 'r':
		return '\r'
	case 't':
		return '\t'
	case 'b':
		return '\b'
	case 'a':
		return '\a'
	}
	return c
}

func isHex(c byte) bool {
	return '0' <= c && c <= '9' || 'a' <= c && c <= 'f' || 'A' <= c && c <= 'F'
}

// fromHex returns the value of a digit.
func fromHex(c byte) byte {
	switch {
	case c <= '9':
		return c - '0'
	case c <= 'F':
		return c - 'A' + 10
	}
	return c - 'a' + 10
}

// isBlank reports whether c ends a word.
func isBlank(c byte) bool { return c == ' ' || c == '\t' || c == '\r' }

// isSpace reports whether c may stand between words: isspace of C.
func isSpace(c byte) bool { return isBlank(c) || c == '\v' || c == '\f' }

// trim releases the memory of a command with many arguments.
func (p *parser) trim() {
	if p.missing == 0 && cap(p.args) > keptArgs {
		p.args = nil
	}
	p.unquoted = nil
}

// protocolError is the error of an invalid stream. It is sent to the client, and the
// connection is closed.
type protocolError string

// Error implements error.
func (e protocolError) Error() string { return "Protocol error: " + string(e) }

// printable replaces bytes that would break a line of a reply or a log.
func printable(c byte) byte {
	if c < ' ' || c > '~' {
		return '?'
	}
	return c
}

// parseInt reads a decimal number as Redis does: no plus sign, no leading zeros, no
// spaces. strconv.ParseInt accepts more.
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

// maxReply returns the maximum length of the reply to one command, in bytes: enough for any
// single value, and for a reasonable MGET or KEYS.
func maxReply(maxBulk int) int { return 64<<20 + maxBulk }

// A reply is a buffer to which replies are appended.
type reply struct {
	b   []byte
	max int  // maximum length of b
	cut bool // b would have been longer
}

// grow reports whether n more bytes fit.
func (r *reply) grow(n int) bool {
	if len(r.b)+n > r.max {
		r.cut = true
	}
	return !r.cut
}

// raw appends an encoded reply.
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
