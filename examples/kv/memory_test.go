package main

import (
	"bytes"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"
)

// counted returns the memory that --max-memory bounds, as it is counted now.
func (r running) counted() (data int64, h held) {
	db := r.server.db
	db.Lock()
	defer db.Unlock()
	return db.bytes, db.memory.sum
}

func heap() int64 {
	runtime.GC()
	var s runtime.MemStats
	runtime.ReadMemStats(&s)
	return int64(s.HeapAlloc)
}

// Incomplete commands that do not fit use no memory: they are refused when they
// are complete, and the connection stays open.
func TestMaxMemoryBoundsUnfinishedCommands(t *testing.T) {
	const (
		clients, length = 20, 16 << 20
		limit           = 1_000_000
		slack           = 64 << 20 // of the heap: buffers of the loops and this test
	)
	for _, loops := range []int{1, 2} {
		r := start(t, options{loops: loops, maxBulk: length, maxMemory: limit})
		value := bytes.Repeat([]byte("v"), length)
		before := heap()
		var all []*testClient
		for range clients {
			all = append(all, dial(t, r.addr))
		}
		const left = 10
		var sending sync.WaitGroup
		for _, c := range all {
			sending.Go(func() {
				c.send(fmt.Sprintf("*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$%d\r\n", length))
				if _, err := c.Write(value[left:]); err != nil {
					t.Error(err)
				}
			})
		}
		sending.Wait()
		if grown := heap() - before; grown > slack {
			t.Errorf("%d loops: the heap has grown by %d MiB", loops, grown>>20)
		}
		if data, h := r.counted(); data+h.input > limit+clients*freeInput {
			t.Errorf("%d loops: %d bytes of data, %+v", loops, data, h)
		}
		for _, c := range all {
			c.send(strings.Repeat("v", left) + "\r\n" + resp("PING"))
			if got := c.reply() + c.reply(); got != "-"+oom+"\r\n+PONG\r\n" {
				t.Errorf("%d loops: %q", loops, got)
			}
			if got := c.do("SET", "small", "x"); got != "+OK\r\n" {
				t.Errorf("%d loops, afterwards: %q", loops, got)
			}
		}
	}
}

// Of commands that fit alone, but not together, as many are kept as fit; the memory of
// their clients is released when they disconnect.
func TestMaxMemoryIsSharedByAll(t *testing.T) {
	const clients, length, limit = 30, 200_000, 1_500_000
	r := start(t, options{maxMemory: limit})
	var all []*testClient
	var sending sync.WaitGroup
	for i := range clients {
		c := dial(t, r.addr)
		all = append(all, c)
		sending.Go(func() {
			c.send(fmt.Sprintf("PING\r\n*3\r\n$3\r\nSET\r\n$2\r\n%02d\r\n$%d\r\n%s", i, length, strings.Repeat("v", length-1)))
			c.reply()
		})
	}
	sending.Wait()
	ok, refused := 0, 0
	for _, c := range all {
		if data, h := r.counted(); data+h.input > limit+clients*freeInput {
			t.Errorf("%d bytes of data, %+v", data, h)
		}
		c.send("v\r\n")
		switch got := c.reply(); got {
		case "+OK\r\n":
			ok++
		case "-" + oom + "\r\n":
			refused++
		default:
			t.Errorf("%q", got)
		}
	}
	if ok == 0 || refused == 0 || ok > limit/length {
		t.Errorf("%d stored, %d refused", ok, refused)
	}
	for _, c := range all {
		c.Close()
	}
	last := dial(t, r.addr)
	last.do("FLUSHALL")
	for deadline := time.Now().Add(patience); ; runtime.Gosched() {
		data, h := r.counted()
		if data == 0 && h.input+h.output < freeInput { // of the last one
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("after all have disconnected: %d bytes of data, %+v", data, h)
		}
	}
	if got := last.do("SET", "k", strings.Repeat("v", length)); got != "+OK\r\n" {
		t.Errorf("afterwards: %q", got)
	}
}

// Clients that do not read cannot fill the memory with replies: when it is full their
// connections are aborted. Others stay open.
func TestMaxMemoryBoundsReplies(t *testing.T) {
	const clients, length, limit = 20, 400_000, 2_000_000
	r := start(t, options{maxMemory: limit})
	good := dial(t, r.addr)
	if got := good.do("SET", "k", strings.Repeat("v", length)); got != "+OK\r\n" {
		t.Fatal(got)
	}
	var all []*testClient
	for range clients {
		c := dial(t, r.addr)
		c.SetReadBuffer(4 << 10)
		c.send(strings.Repeat("GET k\r\n", 50))
		all = append(all, c)
	}
	const bound = limit + limit/outputFraction + clients*freeOutput + 2*(length+batchBytes)
	for deadline := time.Now().Add(patience); r.server.group.Conns() > clients; {
		if got := good.do("PING"); got != "+PONG\r\n" {
			t.Fatal(got)
		}
		if data, h := r.counted(); data+h.input+h.output > bound {
			t.Fatalf("%d bytes of data, %+v", data, h)
		}
		if s := r.server.group.Stats().Loops[0]; s.UnsentBytes > bound {
			t.Fatalf("%d bytes are unsent", s.UnsentBytes)
		}
		if time.Now().After(deadline) {
			t.Fatal("no connection is aborted")
		}
	}
	for _, c := range all {
		c.Close()
	}
	if got := good.do("GET", "k"); len(got) < length {
		t.Errorf("GET: %.40q", got)
	}
}

// refusing feeds a parser as parse does, and refuses every incomplete command, if
// possible. It returns the others, and the number of refused ones.
func refusing(t testing.TB, input []byte, next func() int) (commands [][]string, refused int, err error) {
	t.Helper()
	p := newParser(testMaxBulk)
	from, to := 0, 0
	for to < len(input) {
		to = min(to+next(), len(input))
		for {
			b := bytes.Clone(input[from:to])
			if p.skipping {
				n, done, err := p.skip(b)
				if n < 0 || n > len(b) || err != nil && n != 0 || done && n == 0 && p.missing > 0 {
					t.Fatalf("%d skipped of %d bytes, %v, %v", n, len(b), done, err)
				}
				if err != nil {
					return commands, refused, err
				}
				from += n
				if !done {
					break
				}
				refused++
				continue
			}
			n, err := p.next(b)
			if err != nil {
				return commands, refused, err
			}
			if n == 0 {
				if len(b) > 0 && p.refuse() {
					continue
				}
				break
			}
			args := []string{}
			for _, a := range p.args {
				args = append(args, string(p.bytes(b)[a.from:a.to]))
			}
			commands = append(commands, args)
			from += n
		}
		if p.skipping && to-from > maxLength {
			t.Fatalf("%d bytes of a refused command are kept", to-from)
		}
	}
	return commands, refused, nil
}

// A refused command is skipped exactly, however the stream is split: the commands after it
// are parsed as if nothing had been refused.
func FuzzRefuse(f *testing.F) {
	for _, test := range parserTests {
		f.Add([]byte(test.input), uint8(3))
	}
	f.Add([]byte(resp("SET", "k", strings.Repeat("v", 1000))+resp("GET", "k")+"PING\r\n"+resp("GET", "")), uint8(16))
	f.Fuzz(func(t *testing.T, input []byte, piece uint8) {
		whole, wholeErr := parse(t, input, always(max(len(input), 1)))
		got, refused, err := refusing(t, input, always(int(piece)+1))
		if wholeErr == nil && (err != nil || len(got)+refused != len(whole)) {
			t.Errorf("%d commands and %d refused, of %d: %v", len(got), refused, len(whole), err)
		}
		at := 0
		for _, command := range got { // in their order among all
			for at < len(whole) && fmt.Sprint(whole[at]) != fmt.Sprint(command) {
				at++
			}
			if at++; at > len(whole) && wholeErr == nil {
				t.Errorf("%q is none of the commands %q", command, whole)
			}
		}
	})
}

func TestRefuse(t *testing.T) {
	long := resp("SET", "k", strings.Repeat("v", 5000))
	for piece := 1; piece < 300; piece++ {
		got, refused, err := refusing(t, []byte(long+resp("PING")+long), always(piece))
		if err != nil || len(got) > 1 || len(got)+refused != 3 || refused < 2 {
			t.Fatalf("in chunks of %d: %d commands, %d refused, %v", piece, len(got), refused, err)
		}
	}
}
