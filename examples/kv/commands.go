package main

import (
	"bytes"
	"fmt"
	"math"
	"runtime"
	"sort"
	"strconv"
	"strings"
	"time"
)

// call is a command that runs: who asked, its arguments, and where its answer goes.
// Each loop has one, and uses it for every command again.
type call struct {
	server  *server
	db      *store // locked
	session *session
	b       []byte // the bytes of the command; args are spans of it
	args    []span
	reply   reply
}

// command is what the table says of one.
type command struct {
	run func(*call)
	// args is the number of arguments, the command's name among them; if negative, the
	// least number.
	args  int
	grows bool // may need memory, and is refused when there is none
}

// commands has every command by its name. Filled by init, since COMMAND reads it.
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
	case cmd.grows && x.server.maxMemory > 0 && x.db.bytes > x.server.maxMemory:
		x.error("OOM command not allowed when used memory > 'maxmemory'.")
		return
	}
	start := len(x.reply.b)
	x.reply.max, x.reply.cut = start+maxReply(x.server.maxBulk), false
	cmd.run(x)
	if x.reply.cut {
		x.reply.b = x.reply.b[:start]
		x.error("ERR the reply would be too long; ask for less at once")
	}
}

// upperCase copies b into buf, in capitals, as far as it fits. Whatever does not fit is
// no command's name.
func upperCase(buf, b []byte) []byte {
	n := copy(buf, b)
	for i, c := range buf[:n] {
		if 'a' <= c && c <= 'z' {
			buf[i] = c - 'a' + 'A'
		}
	}
	return buf[:n]
}

// arg returns an argument, which lasts as long as the command.
func (x *call) arg(i int) []byte { return x.b[x.args[i].from:x.args[i].to] }

// is says whether an argument is a word, in capitals or not.
func (x *call) is(i int, word string) bool {
	return bytes.EqualFold(x.arg(i), []byte(word))
}

// entry returns the entry of the key that is an argument, or nil.
func (x *call) entry(i int) *entry { return x.db.get(x.arg(i)) }

// take returns the replies; they last until the next command.
func (x *call) take() []byte {
	b := x.reply.b
	x.session, x.b, x.args = nil, nil, nil
	x.reply.b = b[:0]
	if cap(b) > 4*batchBytes {
		x.reply.b = nil // an unusually long one, not to be kept for ever
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

// maxQuoted is how much of what a client sent is quoted in an error.
const maxQuoted = 128

func quotable(b []byte) string {
	b = bytes.Clone(b[:min(len(b), maxQuoted)])
	for i, c := range b {
		b[i] = printable(c)
	}
	return string(b)
}

// Connections.

func ping(x *call) {
	switch len(x.args) {
	case 1:
		x.reply.raw("+PONG\r\n")
	case 2:
		x.reply.bulk(x.arg(1))
	default:
		x.wrongArgs()
	}
}

func echo(x *call) { x.reply.bulk(x.arg(1)) }

func quit(x *call) {
	x.session.quit = true
	x.reply.ok()
}

func selectDB(x *call) {
	switch n, ok := parseInt(x.arg(1)); {
	case !ok:
		x.notInteger()
	case n != 0:
		x.error("ERR DB index is out of range")
	default:
		x.reply.ok()
	}
}

// client has what client libraries send when they connect.
func client(x *call) {
	switch {
	case x.is(1, "SETNAME") && len(x.args) == 3:
		x.session.name = string(x.arg(2)[:min(len(x.arg(2)), maxQuoted)])
		x.reply.ok()
	case x.is(1, "GETNAME") && len(x.args) == 2:
		if x.session.name == "" {
			x.reply.nil()
		} else {
			x.reply.text(x.session.name)
		}
	case x.is(1, "SETINFO") && len(x.args) == 4, x.is(1, "NO-EVICT"), x.is(1, "NO-TOUCH"):
		x.reply.ok()
	default:
		x.unknownSubcommand()
	}
}

// Values.

func get(x *call) { x.value(x.entry(1)) }

// value appends the value of an entry, or nil.
func (x *call) value(e *entry) {
	if e == nil {
		x.reply.nil()
		return
	}
	x.reply.bulk(e.value)
}

// setOptions are what may follow SET key value.
type setOptions struct {
	nx, xx, get, keepTTL, timed bool
	ttl                         time.Duration
}

func set(x *call) {
	var o setOptions
	if len(x.args) > 3 && !x.setOptions(&o) {
		return
	}
	e := x.entry(1)
	store := !(o.nx && e != nil || o.xx && e == nil)
	switch {
	case o.get:
		x.value(e)
	case store:
		x.reply.ok()
	default:
		x.reply.nil()
	}
	if !store {
		return
	}
	e = x.db.set(e, x.arg(1), x.arg(2))
	switch {
	case o.timed:
		x.db.expire(e, o.ttl)
	case !o.keepTTL:
		x.db.persist(e)
	}
}

// setOptions reads the options of SET; what is wrong with them it answers.
func (x *call) setOptions(o *setOptions) (ok bool) {
	for i := 3; i < len(x.args); i++ {
		unit := time.Second
		switch {
		case x.is(i, "NX") && !o.xx:
			o.nx = true
		case x.is(i, "XX") && !o.nx:
			o.xx = true
		case x.is(i, "GET"):
			o.get = true
		case x.is(i, "KEEPTTL") && !o.timed:
			o.keepTTL = true
		case x.is(i, "PX"):
			unit = time.Millisecond
			fallthrough
		case x.is(i, "EX"):
			if i++; i == len(x.args) || o.timed || o.keepTTL {
				x.syntaxError()
				return false
			}
			n, ok := parseInt(x.arg(i))
			if !ok {
				x.notInteger()
				return false
			}
			o.timed, o.ttl = true, period(n, unit)
			if o.ttl <= 0 {
				x.error("ERR invalid expire time in 'set' command")
				return false
			}
		default:
			x.syntaxError()
			return false
		}
	}
	return true
}

// maxPeriod is the longest time that a key may be given: some 146 years, so that the
// sum of two still fits a Duration.
const maxPeriod = time.Duration(math.MaxInt64 / 2)

// period is n units of time; 0 if it is longer than maxPeriod. It is negative if n is.
func period(n int64, unit time.Duration) time.Duration {
	if n > int64(maxPeriod/unit) {
		return 0
	}
	return time.Duration(max(n, -1)) * unit
}

func del(x *call) {
	n := 0
	for i := 1; i < len(x.args); i++ {
		if e := x.entry(i); e != nil {
			x.db.remove(e)
			n++
		}
	}
	x.reply.int(int64(n))
}

func exists(x *call) {
	n := 0
	for i := 1; i < len(x.args); i++ {
		if x.entry(i) != nil {
			n++
		}
	}
	x.reply.int(int64(n))
}

func typeOf(x *call) {
	if x.entry(1) == nil {
		x.reply.status("none")
	} else {
		x.reply.status("string")
	}
}

func mget(x *call) {
	x.reply.array(len(x.args) - 1)
	for i := 1; i < len(x.args) && !x.reply.cut; i++ {
		x.value(x.entry(i))
	}
}

func mset(x *call) {
	if len(x.args)%2 == 0 {
		x.wrongArgs()
		return
	}
	for i := 1; i < len(x.args); i += 2 {
		x.db.persist(x.db.set(x.entry(i), x.arg(i), x.arg(i+1)))
	}
	x.reply.ok()
}

func incr(x *call) { x.add(1) }
func decr(x *call) { x.add(-1) }

func incrBy(x *call) {
	if n, ok := parseInt(x.arg(2)); ok {
		x.add(n)
	} else {
		x.notInteger()
	}
}

func decrBy(x *call) {
	switch n, ok := parseInt(x.arg(2)); {
	case !ok:
		x.notInteger()
	case n == math.MinInt64:
		x.error("ERR decrement would overflow")
	default:
		x.add(-n)
	}
}

// add adds n to the number that is a key's value.
func (x *call) add(n int64) {
	e := x.entry(1)
	var old int64
	if e != nil {
		var ok bool
		if old, ok = parseInt(e.value); !ok {
			x.notInteger()
			return
		}
	}
	if n > 0 && old > math.MaxInt64-n || n < 0 && old < math.MinInt64-n {
		x.error("ERR increment or decrement would overflow")
		return
	}
	var digits [20]byte
	x.db.set(e, x.arg(1), strconv.AppendInt(digits[:0], old+n, 10))
	x.reply.int(old + n)
}

// Expiry.

func expireSeconds(x *call) { x.expire(time.Second) }
func expireMillis(x *call)  { x.expire(time.Millisecond) }

func (x *call) expire(unit time.Duration) {
	n, ok := parseInt(x.arg(2))
	d := period(n, unit)
	switch {
	case !ok:
		x.notInteger()
		return
	case d == 0 && n != 0:
		x.error("ERR invalid expire time in '" + strings.ToLower(string(x.arg(0))) + "' command")
		return
	}
	e := x.entry(1)
	if e != nil {
		x.db.expire(e, d)
	}
	x.reply.bool(e != nil)
}

func ttlSeconds(x *call) { x.ttl(time.Second) }
func ttlMillis(x *call)  { x.ttl(time.Millisecond) }

func (x *call) ttl(unit time.Duration) {
	e := x.entry(1)
	if e == nil {
		x.reply.int(-2)
		return
	}
	left, expires := x.db.ttl(e)
	if !expires {
		x.reply.int(-1)
		return
	}
	x.reply.int(int64((left + unit/2) / unit)) // to the nearest, as Redis has it
}

func persist(x *call) {
	e := x.entry(1)
	x.reply.bool(e != nil && x.db.persist(e))
}

// The store as a whole.

func keys(x *call) {
	var found []string
	for key, e := range x.db.entries {
		if !x.db.expired(e) && matches(x.arg(1), key) {
			found = append(found, key)
		}
	}
	x.reply.array(len(found))
	for _, key := range found {
		x.reply.text(key)
	}
}

func dbSize(x *call) { x.reply.int(int64(len(x.db.entries))) }

// flush ignores ASYNC and SYNC: the collector of garbage does the long part anyway.
func flush(x *call) {
	x.db.flush()
	x.reply.ok()
}

// The server.

func info(x *call) {
	s := x.server
	x.reply.text(fmt.Sprintf("# Server\r\nserver_name:pollux-kv\r\nos:%s %s\r\nmultiplexing_api:%s\r\nloops:%d\r\nuptime_in_seconds:%d\r\n"+
		"\r\n# Clients\r\nconnected_clients:%d\r\nmaxclients:%d\r\n"+
		"\r\n# Memory\r\nused_memory_dataset:%d\r\nmaxmemory:%d\r\n"+
		"\r\n# Keyspace\r\ndb0:keys=%d\r\n",
		runtime.GOOS, runtime.GOARCH, s.group.Backend(), len(s.calls), int64(time.Since(s.began)/time.Second),
		s.group.Conns(), s.maxConns, x.db.bytes, s.maxMemory, len(x.db.entries)))
}

// commandInfo lists the commands with their numbers of arguments. COMMAND DOCS, which
// redis-cli asks for its hints, has nothing to say.
func commandInfo(x *call) {
	switch {
	case len(x.args) == 1:
		x.reply.array(len(commands))
		for _, name := range commandNames() {
			x.reply.array(6) // name, arguments, flags, first key, last key, step
			x.reply.text(strings.ToLower(name))
			x.reply.int(int64(commands[name].args))
			x.reply.raw("*0\r\n:0\r\n:0\r\n:0\r\n")
		}
	case x.is(1, "COUNT"):
		x.reply.int(int64(len(commands)))
	case x.is(1, "DOCS"):
		x.reply.array(0)
	default:
		x.unknownSubcommand()
	}
}

func commandNames() []string {
	var names []string
	for name := range commands {
		names = append(names, name)
	}
	sort.Strings(names)
	return names
}

// config answers what redis-benchmark and monitors ask; nothing can be set.
func config(x *call) {
	if !x.is(1, "GET") || len(x.args) != 3 {
		x.unknownSubcommand()
		return
	}
	settings := [][2]string{
		{"appendonly", "no"},
		{"databases", "1"},
		{"maxclients", strconv.Itoa(x.server.maxConns)},
		{"maxmemory", strconv.FormatInt(x.server.maxMemory, 10)},
		{"proto-max-bulk-len", strconv.Itoa(x.server.maxBulk)},
		{"save", ""},
	}
	var found []string
	for _, s := range settings {
		if matches(bytes.ToLower(x.arg(2)), s[0]) {
			found = append(found, s[0], s[1])
		}
	}
	x.reply.array(len(found))
	for _, s := range found {
		x.reply.text(s)
	}
}
