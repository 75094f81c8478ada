package simtest

import (
	"math/rand/v2"
	"time"

	"github.com/pollux-io/pollux/internal/simnet"
)

// drawer draws a random program.
type drawer struct {
	*rand.Rand
	p    *program
	most int // bytes of a write
	ends []bool
}

func pick[T any](r *rand.Rand, of ...T) T { return of[r.IntN(len(of))] }

const (
	noLinger    = time.Hour // never expires in a run
	maxConns    = 8         // of a program
	stepsOfConn = 14        // on average
)

// draw returns the program of a seed.
func draw(seed uint64) *program {
	d := &drawer{Rand: rand.New(rand.NewPCG(seed, 1)), p: &program{seed: seed}, most: 200_000}
	d.drawNetwork()
	d.drawSetting()
	for range 1 + d.IntN(maxConns) {
		d.p.conns = append(d.p.conns, d.connection())
		d.ends = append(d.ends, d.chance(2))
	}
	d.drawSteps()
	return d.p
}

func (d *drawer) chance(in int) bool { return d.IntN(in) == 0 }

func (d *drawer) drawNetwork() {
	n := &d.p.network
	*n = network{peerHosts: 1 + d.IntN(3), adversity: d.IntN(adversities)}
	if d.chance(2) {
		n.link = simnet.Link{Latency: pick(d.Rand, 0, 10*time.Microsecond, time.Millisecond, 40*time.Millisecond)}
	}
	if d.chance(3) {
		n.link.Jitter = n.link.Latency / 2
	}
	if d.chance(4) {
		n.link.BytesPerSecond = pick(d.Rand, int64(1_000_000), 100_000_000)
	}
	if d.chance(3) {
		n.link.SegmentBytes = pick(d.Rand, 1+d.IntN(100), 1460)
		n.link.RandomSegments = d.chance(2)
	}
	if d.chance(4) {
		n.link.Loss, n.link.Duplicate, n.link.Reorder = 0.1, 0.1, 0.1
	}
	if d.chance(3) {
		n.faults.PartialReads, n.faults.PartialWrites = 0.3, 0.3
	}
	if d.chance(3) {
		n.faults.WouldBlock = 0.2
	}
	if d.chance(10) {
		n.faults.Resets = 0.01
	}
}

func (d *drawer) drawSetting() {
	high := pick(d.Rand, 1, 1000, 20_000, 64<<10, 256<<10)
	s := &d.p.setting
	*s = setting{
		groups: 1 + d.IntN(2), loops: 1 + d.IntN(3), high: high, low: 1 + d.IntN(high), maxUnsent: high + pick(d.Rand, 200, 1000, 1<<20, 64<<20),
		maxUnread: pick(d.Rand, 1, 1000, 100_000, 1<<20), readBudget: pick(d.Rand, 1+d.IntN(100), 1000, 64<<10, 256<<10), idleBuffers: pick(d.Rand, 1, 16<<20),
		linger: noLinger,
	}
	if d.chance(8) {
		s.linger = 20 * time.Millisecond
	}
	if d.chance(8) {
		s.maxConns = 1 + d.IntN(3)
	}
	if s.readBudget < 1000 || high < 1000 || d.p.network.link.SegmentBytes > 0 && d.p.network.link.SegmentBytes < 1000 {
		d.most = 5_000
	}
}

func (d *drawer) connection() connection {
	c := connection{
		kind: pick(d.Rand, accepted, accepted, dialed, dialed, loopToLoop, loopToLoop, relayed, fanned), network: pick(d.Rand, "tcp", "tcp", "tcp", "unix"),
		group: d.IntN(d.p.setting.groups), peerHost: d.IntN(d.p.network.peerHosts), small: d.chance(3), first: d.IntN(2), halfFirst: d.chance(2),
		noReadClosed:    [2]bool{d.chance(3), d.chance(3)},
		closeOnShutdown: [2]bool{d.chance(2), d.chance(2)},
	}
	if d.p.setting.maxConns > 0 {
		c.kind = accepted // connections of one group could wait for each other
	}
	c.shared = c.kind == accepted && c.network == "tcp" && (d.p.setting.maxConns > 0 || d.chance(2))
	return c
}

// drawSteps draws the steps of each connection, in its order, and merges them.
func (d *drawer) drawSteps() {
	lists := make([][]step, 0, len(d.p.conns)+1)
	for i := range d.p.conns {
		lists = append(lists, d.stepsOf(i))
	}
	lists = append(lists, d.globalSteps())
	for len(lists) > 0 {
		i := d.IntN(len(lists))
		if len(lists[i]) == 0 {
			lists = append(lists[:i], lists[i+1:]...)
			continue
		}
		s := lists[i][0]
		lists[i] = lists[i][1:]
		if s.after == 0 {
			s.after = d.pauseBefore()
		}
		d.p.steps = append(d.p.steps, s)
	}
}

// pauseBefore draws the time before a step. It has random nanoseconds, so that steps do not coincide
// with what the steps before have caused.
func (d *drawer) pauseBefore() time.Duration {
	most := pick(d.Rand, 0, 0, time.Microsecond, 100*time.Microsecond, 2*time.Millisecond, 50*time.Millisecond)
	if d.chance(100) {
		most = 20 * time.Second
	}
	return time.Duration(d.Int64N(int64(most) + 1))
}

func (d *drawer) stepsOf(conn int) []step {
	c := &d.p.conns[conn]
	if (c.kind == accepted || c.kind == dialed) && d.chance(12) {
		return d.echoSteps(conn)
	}
	list := []step{}
	open := false
	for range 2 + d.IntN(2*stepsOfConn) {
		end := d.IntN(2)
		var s step
		if c.isPeer(end) {
			s = d.peerStep(d.ends[conn])
		} else {
			s = d.loopStep(end, c, d.ends[conn])
		}
		s.conn, s.end = conn, end
		if !open && (s.from != fromCallback || c.isPeer(end)) {
			list, open = append(list, step{conn: conn, op: opOpen}), true
		}
		list = append(list, s)
	}
	if !open {
		list = append(list, step{conn: conn, op: opOpen})
	}
	if d.chance(3) {
		list = append(list, d.scenario(conn)...)
	}
	return list
}

// echoSteps returns the steps of a connection that echoes as much as it can, and nothing else.
func (d *drawer) echoSteps(conn int) []step {
	list := []step{{conn: conn, op: opOpen}, {conn: conn, op: opEcho, n: echoWhole, from: d.from()}}
	for range 1 + d.IntN(4) {
		list = append(list, step{conn: conn, end: 1, op: opWrite, n: d.size() + d.most/10})
	}
	return list
}

// isPeer reports whether an end is not one of the loop.
func (c *connection) isPeer(end int) bool {
	switch c.kind {
	case loopToLoop:
		return false
	case relayed:
		return true
	}
	return end == 1
}

// scenario returns steps that are typical of protocols and seldom drawn at random.
func (d *drawer) scenario(conn int) []step {
	c := &d.p.conns[conn]
	if c.kind == relayed || c.kind == fanned {
		return nil
	}
	list := []step{}
	add := func(end int, o op, n int, f from) {
		list = append(list, step{conn: conn, end: end, op: o, n: n, from: f})
	}
	if c.kind == loopToLoop { // both ends write more than the other one takes before it reads
		c.small = true
		add(0, opWrite, d.most, d.from())
		add(1, opWrite, d.most, d.from())
		return list
	}
	end := pick(d.Rand, opFIN, opRST, opHardClose, opHardClose)
	few := 1 + d.IntN(2000)
	switch d.IntN(8) {
	case 0: // the loop answers one by one a peer that has closed
		add(0, opTakeOnly, 1+d.IntN(500), fromScript)
		add(1, opWrite, few, fromScript)
		add(1, end, 0, fromScript)
		add(0, opWrite, few, d.from())
		add(0, opResume, 0, d.from())
	case 1: // the peer answers early, and closes
		add(0, opWrite, d.most, d.from())
		add(1, opWrite, few, fromScript)
		add(1, end, 0, fromScript)
	case 2: // the peer half-closes, and resets later
		add(1, opFIN, 0, fromScript)
		add(1, opRST, 0, fromScript)
		add(0, opCloseWrite, 0, d.from())
	case 3: // the loop answers, and closes
		add(0, opWrite, d.most, d.from())
		add(0, pick(d.Rand, opClose, opCloseWith), 0, d.from())
	case 4: // the peer does not read the answers at first
		add(0, opEcho, 1+d.IntN(echoWhole), fromScript)
		add(1, opWrite, d.most, fromScript)
	case 5: // the peer resets at a byte of the answer
		add(1, opCutAt, d.IntN(few), fromScript)
		add(0, opWrite, few, d.from())
	case 7: // the peer sends now and then, before an idle timeout expires
		add(0, opIdleTimeout, 3000, d.from())
		for range 6 {
			add(1, opWrite, 1+few/10, fromScript)
			list[len(list)-1].after = time.Millisecond
		}
	case 6: // the peer closes while the connection is paused
		add(0, opPause, 0, d.from())
		add(1, opWrite, few, fromScript)
		add(1, end, 0, fromScript)
	}
	return list
}

// size draws the number of bytes of a write.
func (d *drawer) size() int { return d.IntN(pick(d.Rand, 2, 100, 1000, 1000, 4<<10, d.most) + 1) }

func (d *drawer) from() from {
	return pick(d.Rand, fromScript, fromCallback, fromCallback, from(d.IntN(int(froms))))
}

type opWeight struct {
	op     op
	weight int
}

var (
	peerWeights = []opWeight{{opWrite, 40}, {opRead, 25}, {opSlow, 3}}
	peerEnding  = []opWeight{{opFIN, 9}, {opRST, 5}, {opHardClose, 5}, {opCutAt, 4}}
	loopWeights = []opWeight{
		{opWrite, 16},
		{opWritev, 8},
		{opWriteOwned, 10},
		{opWriteShared, 8},
		{opConsume, 8},
		{opTakeOnly, 8},
		{opPause, 8},
		{opResume, 7},
		{opSetHandler, 5},
		{opMove, 3},
		{opLongTimeouts, 2},
		{opBackpressure, 4},
		{opWatermarks, 4},
		{opCloseWrite, 2},
		{opEcho, 5},
	}
	loopEnding = []opWeight{
		{opClose, 4}, {opCloseWith, 3}, {opAbort, 2}, {opAbortWith, 2}, {opDetach, 4}, {opDataError, 4}, {opPanic, 3}, {opIdleTimeout, 2}, {opReadDeadline, 2},
	}
	globalWeights = []opWeight{
		{opPartition, 2},
		{opPartitionB, 2},
		{opHeal, 4},
		{opCrash, 1},
		{opDescriptors, 2},
		{opTimer, 8},
		{opTimerStop, 4},
		{opTimerReset, 4},
		{opSend, 10},
		{opDatagram, 6},
		{opEach, 3},
	}
)

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

func (d *drawer) peerStep(ends bool) step {
	s := step{op: d.weighted(peerWeights)}
	if ends && d.chance(6) {
		s.op = d.weighted(peerEnding)
	}
	switch s.op {
	case opWrite:
		s.n = d.size()
	case opRead:
		s.n = pick(d.Rand, 1+d.IntN(1000), d.most)
	case opSlow:
		s.n = 1 + d.IntN(1000)
	case opCutAt:
		s.n = d.IntN(2000)
	}
	return s
}

func (d *drawer) loopStep(end int, c *connection, ends bool) step {
	s := step{op: d.weighted(loopWeights), from: d.from()}
	if ends && d.chance(8) {
		s.op = d.weighted(loopEnding)
	}
	switch s.op {
	case opWrite, opWritev, opWriteOwned, opWriteShared:
		s.n = d.size()
		if c.kind == fanned {
			s.op, s.n = opResume, 0 // its stream is the Fanout's
		}
	case opConsume:
		s.n = pick(d.Rand, 0, 0, -1, 1+d.IntN(2000))
	case opTakeOnly:
		s.n = 1 + d.IntN(2000)
	case opIdleTimeout, opReadDeadline:
		s.n = 1 + d.IntN(3000)
	case opBackpressure:
		s.n = d.IntN(2)
		if end == 1 {
			s.n = 0 // both ends could wait for each other
		}
	case opWatermarks:
		s.n = pick(d.Rand, 0, 1+d.IntN(min(2000, d.p.setting.maxUnsent)), 1+d.IntN(d.p.setting.maxUnsent))
	case opEcho:
		if s.n = 1 + d.IntN(echoWhole); end == 1 || c.kind == fanned {
			s.op, s.n = opResume, 0 // two echoing ends would never stop
		}
	case opMove, opDetach:
		if end == 1 || c.kind == fanned {
			s.op = opResume
		}
	case opPanic, opDataError:
		s.from = fromCallback
	}
	return s
}

func (d *drawer) globalSteps() []step {
	list := []step{}
	for range d.IntN(2 * stepsOfConn) {
		s := step{conn: noConn, op: d.weighted(globalWeights)}
		switch s.op {
		case opPartition, opPartitionB, opHeal, opCrash:
			s.n = d.IntN(d.p.network.peerHosts)
		case opDescriptors:
			s.n = d.IntN(4)
		case opTimer, opTimerReset:
			s.n = d.IntN(20_000)
		case opSend:
			s.n = d.size()
		case opDatagram:
			s.n = d.IntN(2000)
		}
		list = append(list, s)
	}
	if d.chance(5) {
		g := d.IntN(d.p.setting.groups)
		list = append(list, step{conn: noConn, op: opShutdown, n: g})
		if d.chance(2) {
			list = append(list, step{conn: noConn, op: opCut, n: g})
		}
	}
	return list
}
