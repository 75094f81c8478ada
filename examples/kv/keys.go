package main

import (
	"math"
	"strings"
	"time"
)

// Commands about keys and their expiry.

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
	x.reply.int(int64((left + unit/2) / unit)) // rounded to the nearest, as in Redis
}

func persist(x *call) {
	e := x.entry(1)
	x.reply.bool(e != nil && x.db.persist(e))
}

// maxPeriod is the longest time to live of a key: about 146 years, so that the
// sum of two still fits into a Duration.
const maxPeriod = time.Duration(math.MaxInt64 / 2)

// period returns n units of time, or 0 if that is longer than maxPeriod. It is negative if n is.
func period(n int64, unit time.Duration) time.Duration {
	if n > int64(maxPeriod/unit) {
		return 0
	}
	return time.Duration(max(n, -1)) * unit
}

func keys(x *call) {
	var found []string
	steps := maxSteps
	for key, e := range x.db.entries {
		if !x.db.expired(e) && matches(x.arg(1), key, &steps) {
			found = append(found, key)
		}
	}
	if steps < 0 {
		x.reply.error("ERR matching the pattern takes too long; use a simpler one, or fewer and shorter keys")
		return
	}
	x.reply.array(len(found))
	for _, key := range found {
		x.reply.text(key)
	}
}

func dbSize(x *call) { x.reply.int(int64(len(x.db.entries))) }

// flush ignores ASYNC and SYNC: the garbage collector does the slow part anyway.
func flush(x *call) {
	x.db.flush()
	x.reply.ok()
}
