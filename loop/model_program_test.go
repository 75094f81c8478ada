package loop_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/pollux-io/pollux/internal/sys"
)

// program determines everything that a run of the model does, except for scheduling. It is drawn
// from a seed, and shrunk and printed if it fails.
type program struct {
	setting  setting
	crowd    bool // every pair meets once, with its first end paused
	pairs    []script
	shutdown shutdownPlan
}

// setting is the part of the group's configuration that is drawn.
type setting struct {
	loops, high, low, maxUnsent, maxUnread, readBudget, idleBuffers, maxConns int
	linger, busyPoll                                                          time.Duration
}

// shutdownPlan is the number of steps, counted over all pairs, after which Shutdown is called, and
// after which its context is canceled. Zero means: when all pairs have ended; never.
type shutdownPlan struct{ begin, cut int }

type kind int

const (
	accepted   kind = iota // end 0 is accepted by the group, end 1 is a plain peer
	dialed                 // end 0 is dialed by the group, end 1 is a plain peer
	loopToLoop             // end 0 is accepted by the group, and end 1 dialed by it
	kinds
)

func (k kind) String() string {
	return [...]string{"accepted from a plain peer", "dialed to a plain peer", "accepted, and dialed by the group"}[k]
}

// script is a connection, from its beginning to its end.
type script struct {
	network         string
	kind            kind
	small           bool // small socket buffers
	onLoop          bool // dialed by Loop.Dial
	noReadClosed    [2]bool
	closeOnShutdown [2]bool
	first           int  // the end that is closed first, if the steps have left both open
	halfFirst       bool // it half-closes first
	hasty           bool // it is closed before everything that it has written has arrived
	steps           []step
}

// step is an operation of one end, in the order of the script.
type step struct {
	end  int
	op   op
	n    int
	from from
}

type op int

const (
	// For both kinds of ends.
	opWrite       op = iota // n bytes
	opWaitArrived           // wait until everything that this plain peer has sent has arrived
	opMeet                  // wait until all pairs have reached this step
	// For a plain peer.
	opRead      // n bytes more
	opFIN       // after everything that is queued
	opRST       // immediately
	opHardClose // close immediately, even if bytes are unread
	// For a connection of the loop.
	opWritev
	opWriteOwned
	opAwait    // wait until everything that the peer has sent was delivered, unless something prevents it
	opConsume  // Data consumes at most n bytes, all if n is zero, none if n is negative
	opTakeOnly // Data consumes at most n bytes, and pauses if it leaves some
	opEcho     // Data writes as many bytes as it consumes; off if n is zero
	opPause
	opResume
	opSetHandler
	opCloseWrite
	opClose
	opCloseWith
	opAbort
	opAbortWith
	opDetach       // to a net.Conn
	opDetachStream // to a Stream
	opDataError
	opPanic
	opIdleTimeout  // n microseconds
	opReadDeadline // n microseconds from now
	opLongTimeouts // that do not expire
	opBackpressure // off if n is zero
	opWatermarks   // the high one is n and the low one half of that; Config's if n is zero
	ops
)

var opNames = [ops]string{
	"Write", "wait for arrival", "meet", "read", "FIN", "RST", "close", "Writev", "WriteOwned", "await", "consume", "consume and pause", "echo", "Pause", "Resume", "SetHandler",
	"CloseWrite", "Close", "CloseWith", "Abort", "AbortWith", "Detach", "DetachStream", "Data's error", "panic", "SetIdleTimeout", "SetReadDeadline",
	"timeouts of an hour", "SetBackpressure", "SetWatermarks",
}

func (o op) String() string { return opNames[o] }

// ends reports whether o makes a connection of the loop end.
func (o op) ends() bool { return o >= opClose && o <= opReadDeadline }

// from is where a step of a connection of the loop is done.
type from int

const (
	fromScript         from = iota // immediately, on the script's goroutine
	fromCallback                   // in the next callback, if there is one before the end
	fromOther                      // on another goroutine
	fromRun                        // by Loop.Run
	fromTimer                      // by Loop.AfterFunc
	fromWorker                     // by Offload on the loop
	fromOffloadDone                // by Offload on the loop, in its second half
	fromOwnOffloadDone             // by Offload on the connection, in its second half: a callback, if there is one before the end
	froms
)

func (f from) String() string {
	return [...]string{"", " in a callback", " on a goroutine", " by Run", " by AfterFunc", " by Offload", " in Offload's done", " in a done of Offload on the connection"}[f]
}

func (s step) String() string {
	if s.n == 0 {
		return fmt.Sprintf("%d: %v%v", s.end, s.op, s.from)
	}
	return fmt.Sprintf("%d: %v %d%v", s.end, s.op, s.n, s.from)
}

func (p *program) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%+v", p.setting)
	if p.shutdown.begin > 0 {
		fmt.Fprintf(&b, ", shutdown at step %d, cut off at %d", p.shutdown.begin, p.shutdown.cut)
	}
	for i := range p.pairs {
		fmt.Fprintf(&b, "\npair %d: %v", i, &p.pairs[i])
	}
	return b.String()
}

func (s *script) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s, %v", s.network, s.kind)
	for what, is := range map[string]bool{
		"small buffers": s.small, "by Loop.Dial": s.onLoop, "0 has no ReadClosed": s.noReadClosed[0], "1 has no ReadClosed": s.noReadClosed[1],
		"0 closes on Shutdown": s.closeOnShutdown[0], "1 closes on Shutdown": s.closeOnShutdown[1], "half-closes first": s.halfFirst, "ends hastily": s.hasty,
	} {
		if is {
			b.WriteString(", " + what)
		}
	}
	fmt.Fprintf(&b, ", %d ends first", s.first)
	for _, s := range s.steps {
		fmt.Fprintf(&b, "\n\t%v", s)
	}
	return b.String()
}

// drawer draws a random program.
type drawer struct {
	*rand.Rand
	p    *program
	most int // bytes of a write
}

func pick[T any](r *rand.Rand, of ...T) T { return of[r.IntN(len(of))] }

const (
	noLinger  = time.Hour // never expires in a run
	crowdSize = 80        // more paused connections than the io_uring driver has buffers
)

func draw(seed uint64) *program {
	d := &drawer{Rand: rand.New(rand.NewPCG(seed, 1)), p: new(program), most: 1 << 20}
	high := pick(d.Rand, 1, 1000, 20_000, 64<<10, 256<<10)
	s := &d.p.setting
	*s = setting{
		loops: 1 + d.IntN(2), high: high, low: 1 + d.IntN(high), maxUnsent: high + pick(d.Rand, 200, 1000, 1<<20, 64<<20),
		maxUnread: pick(d.Rand, 1, 1000, 100_000, 1<<20), readBudget: pick(d.Rand, 1+d.IntN(100), 1000, 64<<10, 256<<10), idleBuffers: pick(d.Rand, 1, 16<<20),
		linger: noLinger, busyPoll: pick(d.Rand, 0, 0, 100*time.Microsecond),
	}
	if d.chance(8) {
		s.linger = 20 * time.Millisecond
	}
	if d.chance(8) {
		s.maxConns = 1 + d.IntN(3)
	}
	switch {
	case s.readBudget < 1000 || high < 1000:
		d.most = 20_000
	case d.chance(4):
		d.most = 4 << 20
	}
	n := 1 + d.IntN(12)
	if d.chance(10) {
		d.p.crowd, n, d.most, s.maxConns = true, crowdSize, 100_000, 0
		s.maxUnsent = high + 1<<20 // for the first write
	}
	steps := 0
	for range n {
		d.p.pairs = append(d.p.pairs, d.script())
		steps += len(d.p.pairs[len(d.p.pairs)-1].steps)
	}
	if d.chance(5) {
		d.p.shutdown.begin = 1 + d.IntN(steps)
		if d.chance(2) {
			d.p.shutdown.cut = d.p.shutdown.begin + d.IntN(10)
		}
	}
	return d.p
}

func (d *drawer) chance(in int) bool { return d.IntN(in) == 0 }

func (d *drawer) script() script {
	s := script{
		network: pick(d.Rand, "tcp", "tcp", "unix"), kind: kind(d.IntN(int(kinds))), small: d.chance(3), onLoop: d.chance(2), first: d.IntN(2), halfFirst: d.chance(2), hasty: d.chance(2),
		noReadClosed:    [2]bool{d.chance(3), d.chance(3)},
		closeOnShutdown: [2]bool{d.chance(2), d.chance(2)},
	}
	if sys.OnWine() {
		s.network = "tcp"
	}
	if d.p.setting.maxConns > 0 {
		s.kind = accepted // connections of one group could wait for each other
	}
	ends, peerEnds := d.chance(2), d.chance(2)
	for range 2 + d.IntN(12) {
		end := d.IntN(2)
		if end == 1 && s.kind != loopToLoop {
			s.steps = append(s.steps, d.peerStep(peerEnds))
			continue
		}
		s.steps = append(s.steps, d.loopStep(end, &s, ends))
	}
	if d.chance(3) {
		at := d.IntN(len(s.steps) + 1)
		s.steps = slices.Insert(s.steps, at, d.scenario(&s)...)
	}
	if d.p.crowd {
		s.steps = slices.Insert(s.steps, 0, step{op: opTakeOnly, n: 1}, step{end: 1, op: opWrite, n: 1000}, step{op: opMeet}, step{op: opResume})
	}
	return s
}

// scenario returns a sequence of steps that is typical of protocols and seldom drawn at random.
func (d *drawer) scenario(s *script) []step {
	big, some := step{op: opWrite, n: d.most, from: d.from()}, step{op: opWrite, n: 1 + d.IntN(2000), from: d.from()}
	if s.kind == loopToLoop {
		return []step{big, {end: 1, op: opWrite, n: d.most, from: d.from()}}
	}
	end := step{end: 1, op: pick(d.Rand, opFIN, opRST, opHardClose, opHardClose)}
	their, arrived := step{end: 1, op: opWrite, n: 1 + d.IntN(2000)}, step{end: 1, op: opWaitArrived}
	switch d.IntN(7) {
	case 4: // the loop answers, and closes
		return []step{big, {op: pick(d.Rand, opClose, opCloseWith), from: d.from()}}
	case 5: // the peer reads no answers at first
		return []step{{op: opEcho, n: 1}, {end: 1, op: opWrite, n: d.most}, {op: opAwait}}
	case 0: // the loop answers one by one a peer that has closed
		return []step{{op: opTakeOnly, n: 1 + d.IntN(500)}, their, arrived, end, some, {op: opResume, from: d.from()}}
	case 1: // the peer answers early, and closes
		return []step{big, their, arrived, end}
	case 2: // the peer half-closes, and resets later
		return []step{{end: 1, op: opFIN}, {op: opAwait}, {end: 1, op: opRST}, {op: opCloseWrite, from: d.from()}}
	default: // the peer closes while the connection is paused
		return []step{{op: opPause, from: d.from()}, their, arrived, end}
	}
}

// size draws the number of bytes of a write.
func (d *drawer) size() int { return d.IntN(pick(d.Rand, 2, 100, 4<<10, 64<<10, d.most, d.most) + 1) }

func (d *drawer) from() from {
	f := pick(d.Rand, fromScript, fromCallback, fromCallback, from(d.IntN(int(froms))))
	return f
}

// weighted draws an operation according to weights.
func (d *drawer) weighted(weights []opWeight) op {
	total := 0
	for _, w := range weights {
		total += w.weight
	}
	n := d.IntN(total)
	for _, w := range weights {
		if n -= w.weight; n < 0 {
			return w.op
		}
	}
	panic("unreachable")
}

type opWeight struct {
	op     op
	weight int
}

var (
	peerWeights = []opWeight{{opWrite, 40}, {opRead, 25}, {opWaitArrived, 15}}
	peerEnding  = []opWeight{{opFIN, 9}, {opRST, 6}, {opHardClose, 6}}
	loopWeights = []opWeight{
		{opWrite, 16},
		{opWritev, 8},
		{opWriteOwned, 10},
		{opAwait, 8},
		{opConsume, 8},
		{opTakeOnly, 8},
		{opPause, 8},
		{opResume, 7},
		{opSetHandler, 5},
		{opLongTimeouts, 2},
		{opBackpressure, 4},
		{opWatermarks, 4},
		{opCloseWrite, 3},
	}
	loopEnding = []opWeight{
		{opClose, 4}, {opCloseWith, 3}, {opAbort, 2}, {opAbortWith, 2}, {opDetach, 3}, {opDetachStream, 1}, {opDataError, 4}, {opPanic, 3}, {opIdleTimeout, 1}, {opReadDeadline, 1},
	}
)

func (d *drawer) peerStep(ends bool) step {
	s := step{end: 1}
	if ends && d.chance(4) {
		s.op = d.weighted(peerEnding)
		return s
	}
	switch s.op = d.weighted(peerWeights); s.op {
	case opWrite:
		s.n = d.size()
	case opRead:
		s.n = pick(d.Rand, 1+d.IntN(1000), d.most)
	}
	return s
}

func (d *drawer) loopStep(end int, s *script, ends bool) step {
	weights := loopWeights
	if ends && d.chance(6) {
		weights = loopEnding
	}
	x := step{end: end, op: d.weighted(weights), from: d.from()}
	switch x.op {
	case opWrite, opWritev, opWriteOwned:
		x.n = d.size()
	case opAwait:
		x.from = fromScript
	case opConsume:
		x.n = pick(d.Rand, 0, 0, -1, 1+d.IntN(2000))
	case opTakeOnly:
		x.n = 1 + d.IntN(2000)
	case opIdleTimeout, opReadDeadline:
		x.n = 1 + d.IntN(3000)
	case opBackpressure:
		x.n = d.IntN(2)
		if end == 1 && s.kind == loopToLoop {
			x.n = 0 // both ends could wait for each other
		}
	case opWatermarks:
		x.n = pick(d.Rand, 0, 1+d.IntN(min(2000, d.p.setting.maxUnsent)), 1+d.IntN(d.p.setting.maxUnsent))
	case opEcho:
		x.n = 1 - end // two echoing ends would never stop
	case opDetach, opDetachStream:
		if end == 1 || withLayers() {
			x.op = opClose // covered by end 0; a connection with a layer cannot be detached
		}
		if sys.OnWine() && x.op == opDetach {
			x.op = opDetachStream
		}
	case opPanic, opDataError:
		x.from = fromCallback
	}
	return x
}

// reductions returns smaller variants of p, those with the most removed first.
func (p *program) reductions() (list []*program) {
	with := func(change func(q *program)) {
		q := *p
		q.pairs = slices.Clone(p.pairs)
		change(&q)
		list = append(list, &q)
	}
	for size := (len(p.pairs) + 1) / 2; size > 0 && len(p.pairs) > 1; size /= 2 {
		for at := 0; at < len(p.pairs); at += size {
			with(func(q *program) { q.pairs = slices.Delete(q.pairs, at, min(at+size, len(q.pairs))) })
		}
	}
	if p.shutdown.begin > 0 {
		with(func(q *program) { q.shutdown = shutdownPlan{} })
	}
	if len(p.pairs) > 4 {
		return list // the rest is tried once there are few
	}
	for i, s := range p.pairs {
		for size := (len(s.steps) + 1) / 2; size > 0; size /= 2 {
			for at := 0; at < len(s.steps); at += size {
				with(func(q *program) {
					q.pairs[i].steps = slices.Delete(slices.Clone(s.steps), at, min(at+size, len(s.steps)))
				})
			}
		}
		for at, x := range s.steps {
			if x.from != fromScript && x.op != opPanic && x.op != opDataError {
				with(func(q *program) { q.pairs[i].steps = slices.Clone(s.steps); q.pairs[i].steps[at].from = fromScript })
			}
			if x.n > 1000 {
				with(func(q *program) { q.pairs[i].steps = slices.Clone(s.steps); q.pairs[i].steps[at].n = x.n / 10 })
			}
		}
	}
	return list
}
