package sendqueue

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"testing"

	"github.com/pollux-io/pollux/internal/block"
)

// model runs a program against a queue, and what is expected of it: a plain slice of the unsent
// bytes, and the done functions with the position in the stream where each is due.
type model struct {
	t        *testing.T
	q        *Queue
	blocks   *block.Pool
	written  int // position in the stream
	unsent   []byte
	consumed int
	dones    []*doneModel
	shared   *Shared // what all steps share, or nil before the first
	freed    int
}

type doneModel struct {
	at    int // due once so many bytes have been consumed
	calls int
	err   error
}

// stream is what is written, repeated with this period, which divides no size of a block.
const period = 251

var stream = bytes.Repeat(func() (b []byte) {
	for i := range period {
		b = append(b, byte(i))
	}
	return b
}(), 5<<16/period+2)

var errDropped = errors.New("dropped")

// run interprets the bytes of a program, an operation and its length each, and drops what is
// left at the end.
func run(t *testing.T, program []byte) {
	blocks := block.NewPool(1 << 20)
	m := &model{t: t, q: Get(blocks), blocks: blocks}
	for len(program) >= 3 {
		n := int(program[1])<<8 | int(program[2])
		m.step(program[0], n)
		program = program[3:]
	}
	m.drop()
	m.q.Put()
	noBlocksInUse(t, blocks)
	if m.shared != nil {
		if m.freed != 0 {
			t.Fatal("the shared memory was freed before its creator has released it")
		}
		if !m.shared.Release() {
			t.Fatal("the queue is empty, and still refers to the shared memory")
		}
	}
}

func (m *model) step(op byte, n int) {
	switch op % 8 {
	case 0, 1:
		m.q.Append(m.take(n % 600))
	case 2:
		if len(m.unsent) < maxBlock { // to keep the checks short
			m.q.Append(m.take(n * 5)) // up to three blocks
		}
	case 3:
		m.appendOwned(n%300, op&8 != 0)
	case 4:
		m.appendShared(n % 600)
	case 5, 6:
		m.consume(n * 3)
	case 7:
		if n%8 == 0 {
			m.drop()
			return
		}
		m.consume(n % 100)
	}
	m.check()
}

// take returns the next n bytes of the stream.
func (m *model) take(n int) []byte {
	at := m.written % period
	m.written += n
	b := bytes.Clone(stream[at : at+n])
	m.unsent = append(m.unsent, b...)
	return b
}

// appendShared adds the end of the shared memory, at the place where the stream goes on.
func (m *model) appendShared(n int) {
	if m.shared == nil {
		m.shared = new(Shared)
		m.shared.Init(stream[:3*period], func() { m.freed++ })
	}
	b := m.shared.Bytes()[m.written%period:][:n]
	m.written += n
	m.unsent = append(m.unsent, b...)
	m.shared.Add(1)
	if !m.q.AppendShared(m.shared, b) && m.shared.Release() {
		m.t.Fatal("a reference that is the creator's was released")
	}
}

func (m *model) appendOwned(n int, silent bool) {
	b := m.take(n)
	if silent {
		m.q.AppendOwned(b, nil)
		return
	}
	d := &doneModel{at: m.consumed + len(m.unsent)}
	m.dones = append(m.dones, d)
	m.q.AppendOwned(b, func(err error) { d.calls++; d.err = err })
}

// consume takes up to n bytes of what one Gather returns, as a kernel does.
func (m *model) consume(n int) {
	bufs, total := m.q.Gather(make([][]byte, 0, 4))
	got := bytes.Join(bufs, nil)
	if len(got) != total || !bytes.HasPrefix(m.unsent, got) {
		m.t.Fatalf("Gather returned %d bytes, and the total %d; or they are not the first unsent bytes", len(got), total)
	}
	n = min(n, total)
	m.call(m.q.Consume(n, nil))
	m.unsent, m.consumed = m.unsent[n:], m.consumed+n
	m.due(nil, func(d *doneModel) bool { return d.at <= m.consumed })
}

func (m *model) drop() {
	m.call(m.q.Drop(errDropped, nil))
	m.unsent = nil
	m.due(errDropped, func(*doneModel) bool { return true })
	m.check()
}

func (m *model) call(due []Done) {
	for _, d := range due {
		if d.Func == nil {
			d.Freed()
			continue
		}
		d.Func(d.Err)
	}
}

// due checks that the done functions that are due have been called, once, and no others.
func (m *model) due(want error, due func(*doneModel) bool) {
	for len(m.dones) > 0 && due(m.dones[0]) {
		if d := m.dones[0]; d.calls != 1 || d.err != want {
			m.t.Fatalf("done was called %d times, at last with %v, want once, with %v", d.calls, d.err, want)
		}
		m.dones = m.dones[1:]
	}
	for _, d := range m.dones {
		if d.calls != 0 {
			m.t.Fatalf("done was called at %d bytes, want at %d", m.consumed, d.at)
		}
	}
}

func (m *model) check() {
	m.t.Helper()
	m.q.check(m.t)
	rest := m.unsent
	for i, x := range m.q.chunks[m.q.head:] {
		if !bytes.HasPrefix(rest, x.b) {
			m.t.Fatalf("chunk %d of %d bytes has not the next of the %d unsent bytes", i, len(x.b), len(m.unsent))
		}
		rest = rest[len(x.b):]
	}
	if len(rest) > 0 {
		m.t.Fatalf("the last %d of %d unsent bytes are not queued", len(rest), len(m.unsent))
	}
	if (len(m.unsent) > 0 || len(m.dones) > 0) && m.q.Empty() {
		m.t.Fatal("the queue is empty, and bytes or a call of done are still to come")
	}
}

// Random programs, each from its own seed.
func TestL3QueueIsAsAPlainSlice(t *testing.T) {
	for seed := range uint64(50) {
		r := rand.New(rand.NewPCG(seed, 0))
		program := make([]byte, 3*r.IntN(200))
		for i := range program {
			program[i] = byte(r.Uint32())
		}
		if run(t, program); t.Failed() {
			t.Fatalf("seed %d", seed)
		}
	}
}

func FuzzQueue(f *testing.F) {
	f.Add([]byte("\x00\x00\x40\x03\x00\x40\x05\x00\x10\x07\x00\x08"))
	f.Add([]byte("\x02\xff\xff\x03\x00\x00\x05\x40\x00\x05\xff\xff\x05\xff\xff"))
	f.Fuzz(func(t *testing.T, program []byte) {
		run(t, program[:min(len(program), 300)])
	})
}
