package main

import (
	"bytes"
	"fmt"
	"strings"
)

// call is a running command: its session, its arguments, and its reply.
// Each loop has one, and reuses it for every command.
type call struct {
	server  *server
	db      *store // locked
	session *session
	b       []byte // the bytes of the command; args are spans of it
	args    []span
	reply   reply
}

// command is an entry of the table.
type command struct {
	run func(*call)
	// args is the number of arguments, including the command's name; if negative, the
	// minimum number.
	args  int
	grows bool // may need memory, and is refused if --max-memory would be exceeded
}

// commands has every command by its name. init fills it, since COMMAND reads it.
var commands map[string]command

func init() {
	commands = map[string]command{
		"PING":     {run: ping, args: -1},
		"ECHO":     {run: echo, args: 2},
		"QUIT":     {run: quit, args: -1},
		"SELECT":   {run: selectDB, args: 2},
		"GET":      {run: get, args: 2},
		"SET":      {run: set, args: -3, grows: true},
		"DEL":      {run: del, args: -2},
		"UNLINK":   {run: del, args: -2},
		"EXISTS":   {run: exists, args: -2},
		"TYPE":     {run: typeOf, args: 2},
		"MGET":     {run: mget, args: -2},
		"MSET":     {run: mset, args: -3, grows: true},
		"INCR":     {run: incr, args: 2, grows: true},
		"DECR":     {run: decr, args: 2, grows: true},
		"INCRBY":   {run: incrBy, args: 3, grows: true},
		"DECRBY":   {run: decrBy, args: 3, grows: true},
		"EXPIRE":   {run: expireSeconds, args: 3},
		"PEXPIRE":  {run: expireMillis, args: 3},
		"TTL":      {run: ttlSeconds, args: 2},
		"PTTL":     {run: ttlMillis, args: 2},
		"PERSIST":  {run: persist, args: 2},
		"KEYS":     {run: keys, args: 2},
		"DBSIZE":   {run: dbSize, args: 1},
		"FLUSHALL": {run: flush, args: -1},
		"FLUSHDB":  {run: flush, args: -1},
		"INFO":     {run: info, args: -1},
		"COMMAND":  {run: commandInfo, args: -1},
		"CONFIG":   {run: config, args: -2},
		"CLIENT":   {run: client, args: -2},
		"POST":     {run: rejectHTTP, args: -1},
		"HOST:":    {run: rejectHTTP, args: -1},
	}
}

// maxName is longer than every command's name.
const maxName = 16

// run runs the command whose bytes and arguments are set.
func (x *call) run() {
	var upper [maxName]byte
	cmd, found := commands[string(upperCase(upper[:], x.arg(0)))]
	switch {
	case !found:
		x.unknown()
		return
	case cmd.args >= 0 && len(x.args) != cmd.args, len(x.args) < -cmd.args:
		x.wrongArgs()
		return
	case cmd.grows && !x.db.fits(len(x.b)+entryBytes):
		x.error(oom)
		return
	}
	start := len(x.reply.b)
	x.reply.max, x.reply.cut = start+x.server.maxReply, false
	cmd.run(x)
	if x.reply.cut {
		x.reply.b = x.reply.b[:start]
		x.error("ERR the reply would be too long; request fewer or shorter values")
	}
}

// upperCase copies b into buf, in upper case, as far as it fits. A longer b is not the name
// of a command.
func upperCase(buf, b []byte) []byte {
	n := copy(buf, b)
	for i, c := range buf[:n] {
		if 'a' <= c && c <= 'z' {
			buf[i] = c - 'a' + 'A'
		}
	}
	return buf[:n]
}

// arg returns an argument, which is valid until the command has ended.
func (x *call) arg(i int) []byte { return x.b[x.args[i].from:x.args[i].to] }

// is reports whether an argument is word, in upper or lower case.
func (x *call) is(i int, word string) bool {
	return bytes.EqualFold(x.arg(i), []byte(word))
}

// entry returns the entry of the key that is an argument, or nil.
func (x *call) entry(i int) *entry { return x.db.get(x.arg(i)) }

// take returns the replies, which are valid until the next command, and resets the call.
func (x *call) take() []byte {
	b := x.reply.b
	x.session, x.b, x.args = nil, nil, nil
	x.reply.b = b[:0]
	if cap(b) > 4*batchBytes {
		x.reply.b = nil // do not keep an unusually large buffer
	}
	return b
}

func (x *call) error(s string) { x.reply.error(s) }
func (x *call) syntaxError()   { x.error("ERR syntax error") }
func (x *call) notInteger()    { x.error("ERR value is not an integer or out of range") }

func (x *call) wrongArgs() {
	x.error("ERR wrong number of arguments for '" + strings.ToLower(quotable(x.arg(0))) + "' command")
}

func (x *call) unknown() {
	var b strings.Builder
	for i := 1; i < len(x.args) && b.Len() < maxQuoted; i++ {
		fmt.Fprintf(&b, "'%s' ", quotable(x.arg(i)))
	}
	x.error(fmt.Sprintf("ERR unknown command '%s', with args beginning with: %s", quotable(x.arg(0)), &b))
}

func (x *call) unknownSubcommand() {
	x.error(fmt.Sprintf("ERR unknown subcommand '%s'.", quotable(x.arg(1))))
}

// maxQuoted is how many bytes of a client's input an error quotes.
const maxQuoted = 128

func quotable(b []byte) string {
	b = bytes.Clone(b[:min(len(b), maxQuoted)])
	for i, c := range b {
		b[i] = printable(c)
	}
	return string(b)
}
