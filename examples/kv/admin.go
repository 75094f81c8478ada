package main

import (
	"bytes"
	"fmt"
	"log"
	"runtime"
	"sort"
	"strconv"
	"strings"
	"time"
)

// Commands about the connection and the server.

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

// rejectHTTP closes a connection that speaks HTTP: a web page can make its reader's browser
// post to this machine, and commands in the body would run. Every HTTP request has a Host.
// Redis does the same, without a reply.
func rejectHTTP(x *call) {
	log.Print("closed the connection of a client that speaks HTTP: perhaps a web page attacks this server")
	x.session.quit = true
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

// client handles the commands that client libraries send when they connect.
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

func info(x *call) {
	s := x.server
	x.reply.text(fmt.Sprintf("# Server\r\nserver_name:pollux-kv\r\nos:%s %s\r\nmultiplexing_api:%s\r\nloops:%d\r\nuptime_in_seconds:%d\r\n"+
		"\r\n# Clients\r\nconnected_clients:%d\r\nmaxclients:%d\r\n"+
		"\r\n# Memory\r\nused_memory_dataset:%d\r\nmem_clients_normal:%d\r\nmaxmemory:%d\r\n"+
		"\r\n# Keyspace\r\ndb0:keys=%d\r\n",
		runtime.GOOS, runtime.GOARCH, s.group.Backend(), len(s.calls), int64(time.Since(s.began)/time.Second),
		s.group.Conns(), s.maxConns, x.db.bytes, x.db.memory.sum.input+x.db.memory.sum.output, s.maxMemory, len(x.db.entries)))
}

// commandInfo lists the commands with their numbers of arguments. COMMAND DOCS, which
// redis-cli sends for its hints, returns an empty list.
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

// config answers the queries of redis-benchmark and monitors; nothing can be set.
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
	steps := maxSteps
	for _, s := range settings {
		if matches(bytes.ToLower(x.arg(2)), s[0], &steps) {
			found = append(found, s[0], s[1])
		}
	}
	x.reply.array(len(found))
	for _, s := range found {
		x.reply.text(s)
	}
}
