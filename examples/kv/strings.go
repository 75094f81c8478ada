package main

import (
	"math"
	"strconv"
	"time"
)

// Commands about values: GET, SET, MGET, MSET, and INCR and its variants.

func get(x *call) { x.value(x.entry(1)) }

// value appends the value of an entry, or nil.
func (x *call) value(e *entry) {
	if e == nil {
		x.reply.nil()
		return
	}
	x.reply.bulk(e.value)
}

// setOptions are the options of SET.
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

// setOptions parses the options of SET. If they are invalid, it replies with an error and
// returns false.
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
