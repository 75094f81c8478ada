package overlapped

import (
	"unsafe"

	"github.com/pollux-io/pollux/internal/sys"
)

type opKind uint8

const (
	receiveOp opKind = iota
	sendOp
	acceptOp
	connectOp
)

// An op is an operation that may be in flight. The kernel knows it by its OVERLAPPED, which is
// in other memory.
type op struct {
	ov    *sys.Overlapped
	kind  opKind
	state opState
	conn  *conn       // of a receive, a send or a connect
	slot  *acceptSlot // of an accept
}

type opState uint8

const (
	idle      opState = iota
	inFlight          // the kernel uses its memory
	completed         // its completion has been taken from the port, but not handled
)

// memory is the memory that the kernel may write to, allocated in pages. It does not shrink;
// the driver's Close frees it.
type memory struct {
	pages     [][]byte
	ops       map[uintptr][]op // by the page number of their OVERLAPPEDs
	free      []*op
	addrs     [][]byte // free ones, for accepts
	buffers   [][]byte // free ones, for receives
	allocated int      // buffers that were allocated
}

// opsPerPage is how many OVERLAPPEDs fit in a page.
const opsPerPage = sys.PageBytes / sys.OverlappedBytes

func (m *memory) page() ([]byte, error) {
	p, e := sys.AllocPages(sys.PageBytes)
	if e != 0 {
		return nil, sys.CallError("VirtualAlloc", e)
	}
	m.pages = append(m.pages, p)
	return p, nil
}

func (m *memory) getOp(kind opKind) (*op, error) {
	if len(m.free) == 0 {
		p, err := m.page()
		if err != nil {
			return nil, err
		}
		ops := make([]op, opsPerPage)
		for i := range ops {
			ops[i].ov = (*sys.Overlapped)(unsafe.Pointer(&p[i*sys.OverlappedBytes]))
			m.free = append(m.free, &ops[i])
		}
		if m.ops == nil {
			m.ops = map[uintptr][]op{}
		}
		m.ops[uintptr(unsafe.Pointer(&p[0]))/sys.PageBytes] = ops
	}
	last := len(m.free) - 1
	o := m.free[last]
	m.free = m.free[:last]
	o.kind = kind
	return o, nil
}

// putOp frees an op that is not in flight.
func (m *memory) putOp(o *op) {
	o.conn, o.slot = nil, nil
	m.free = append(m.free, o)
}

// find returns the op whose OVERLAPPED is at the address; nil if there is no such op, or it is
// not in flight.
func (m *memory) find(address uintptr) *op {
	ops := m.ops[address/sys.PageBytes]
	if ops == nil {
		return nil
	}
	if o := &ops[address%sys.PageBytes/sys.OverlappedBytes]; o.state == inFlight {
		return o
	}
	return nil
}

// getAddrs returns memory for the addresses of an accept.
func (m *memory) getAddrs() ([]byte, error) {
	if len(m.addrs) == 0 {
		p, err := m.page()
		if err != nil {
			return nil, err
		}
		for ; len(p) >= sys.AcceptBytes; p = p[sys.AcceptBytes:] {
			m.addrs = append(m.addrs, p[:sys.AcceptBytes:sys.AcceptBytes])
		}
	}
	last := len(m.addrs) - 1
	r := m.addrs[last]
	m.addrs = m.addrs[:last]
	return r, nil
}

func (m *memory) putAddrs(r []byte) { m.addrs = append(m.addrs, r) }

// getBuffer returns a buffer of at most n bytes for a busy stream, or nil if all maxBuffers are
// in use.
func (m *memory) getBuffer(n int) []byte {
	if len(m.buffers) == 0 {
		if m.allocated == maxBuffers {
			return nil
		}
		p, err := m.page()
		if err != nil {
			return nil // the stream works without a buffer
		}
		for ; len(p) >= bufferBytes; p = p[bufferBytes:] {
			m.buffers = append(m.buffers, p[:bufferBytes:bufferBytes])
			m.allocated++
		}
	}
	last := len(m.buffers) - 1
	b := m.buffers[last]
	m.buffers = m.buffers[:last]
	return b[:min(n, len(b))]
}

func (m *memory) putBuffer(b []byte) { m.buffers = append(m.buffers, b[:bufferBytes]) }

// release frees all memory. Nothing may be in flight.
func (m *memory) release() {
	for _, p := range m.pages {
		sys.FreePages(p)
	}
	*m = memory{}
}
