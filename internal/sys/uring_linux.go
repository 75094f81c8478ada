package sys

import (
	"net/netip"
	"sync/atomic"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// io_uring, as in <linux/io_uring.h>: io_uring_setup(2), io_uring_enter(2),
// io_uring_register(2). Comments give the Linux version, unless it is 5.11 or older.

// Flags of io_uring_setup.
const (
	IORING_SETUP_CQSIZE        = 1 << 3
	IORING_SETUP_CLAMP         = 1 << 4
	IORING_SETUP_R_DISABLED    = 1 << 6
	IORING_SETUP_SUBMIT_ALL    = 1 << 7  // 5.18
	IORING_SETUP_COOP_TASKRUN  = 1 << 8  // 5.19
	IORING_SETUP_TASKRUN_FLAG  = 1 << 9  // 5.19
	IORING_SETUP_SINGLE_ISSUER = 1 << 12 // 6.0
	IORING_SETUP_DEFER_TASKRUN = 1 << 13 // 6.1
)

// Features that io_uring_setup returns.
const (
	IORING_FEAT_SINGLE_MMAP = 1 << 0
	IORING_FEAT_NODROP      = 1 << 1
	IORING_FEAT_FAST_POLL   = 1 << 5
	IORING_FEAT_EXT_ARG     = 1 << 8
	IORING_FEAT_CQE_SKIP    = 1 << 11 // 5.17

	IORING_FEAT_RECVSEND_BUNDLE = 1 << 14 // 6.10
)

// Operations.
const (
	IORING_OP_POLL_ADD     = 6
	IORING_OP_SENDMSG      = 9
	IORING_OP_RECVMSG      = 10
	IORING_OP_ACCEPT       = 13
	IORING_OP_ASYNC_CANCEL = 14
	IORING_OP_CONNECT      = 16
	IORING_OP_SEND         = 26
	IORING_OP_RECV         = 27
)

// Flags of submissions, and of particular operations.
const (
	IOSQE_BUFFER_SELECT    = 1 << 5
	IOSQE_CQE_SKIP_SUCCESS = 1 << 6 // 5.17

	IORING_POLL_ADD_MULTI   = 1 << 0 // in Len; 5.13
	IORING_ACCEPT_MULTISHOT = 1 << 0 // in Ioprio; 5.19
	IORING_RECV_MULTISHOT   = 1 << 1 // in Ioprio; 6.0
	IORING_RECVSEND_BUNDLE  = 1 << 4 // in Ioprio; 6.10
)

// Flags of completions.
const (
	IORING_CQE_F_BUFFER     = 1 << 0
	IORING_CQE_F_MORE       = 1 << 1
	IORING_CQE_BUFFER_SHIFT = 16
)

// Flags of io_uring_enter, and of the submission queue.
const (
	IORING_ENTER_GETEVENTS       = 1 << 0
	IORING_ENTER_EXT_ARG         = 1 << 3
	IORING_ENTER_REGISTERED_RING = 1 << 4 // 5.18

	IORING_SQ_CQ_OVERFLOW = 1 << 1
	IORING_SQ_TASKRUN     = 1 << 2
)

// Operations of io_uring_register.
const (
	ioringRegisterProbe       = 8
	ioringRegisterEnableRings = 12
	ioringRegisterRingFDs     = 20 // 5.18
	ioringUnregisterRingFDs   = 21 // 5.18
	ioringRegisterPbufRing    = 22 // 5.19
)

const (
	ioringOffSQRing = 0
	ioringOffCQRing = 0x8000000
	ioringOffSQEs   = 0x10000000
)

// URingSQE is struct io_uring_sqe. Its field names are those of the most common uses.
type URingSQE struct {
	Opcode      uint8
	Flags       uint8
	Ioprio      uint16
	FD          int32
	Off         uint64
	Addr        uint64
	Len         uint32
	OpFlags     uint32 // msg_flags, accept_flags, poll32_events, cancel_flags
	UserData    uint64
	BufGroup    uint16
	Personality uint16
	FileIndex   int32 // or optlen
	Addr3       uint64
	_           uint64
}

// URingCQE is struct io_uring_cqe.
type URingCQE struct {
	UserData uint64
	Res      int32
	Flags    uint32
}

type uringSQOffsets struct {
	Head, Tail, RingMask, RingEntries, Flags, Dropped, Array, _ uint32
	_                                                           uint64
}

type uringCQOffsets struct {
	Head, Tail, RingMask, RingEntries, Overflow, CQEs, Flags, _ uint32
	_                                                           uint64
}

type uringParams struct {
	SQEntries, CQEntries, Flags, SQThreadCPU, SQThreadIdle, Features, WQFD uint32
	_                                                                      [3]uint32
	SQOff                                                                  uringSQOffsets
	CQOff                                                                  uringCQOffsets
}

type uringBufReg struct {
	RingAddr    uint64
	RingEntries uint32
	BGID, Flags uint16
	_           [3]uint64
}

// uringBuf is struct io_uring_buf. The ring's tail is the reserved field of the first entry.
type uringBuf struct {
	Addr uint64
	Len  uint32
	BID  uint16
	Tail uint16
}

type uringGeteventsArg struct {
	Sigmask   uint64
	SigmaskSz uint32
	MinWait   uint32
	TS        uint64
}

type uringProbe struct {
	LastOp, OpsLen uint8
	_              uint16
	_              [3]uint32
	Ops            [256]struct {
		Op, _ uint8
		Flags uint16
		_     uint32
	}
}

// uringTimespec is struct __kernel_timespec, whose fields have 64 bits on all systems.
type uringTimespec struct{ Sec, Nsec int64 }

type uringRsrcUpdate struct {
	Offset, _ uint32
	Data      uint64
}

// URing is a ring: its descriptor, and the memory shared with the kernel. It must be used
// by one goroutine at a time.
type URing struct {
	FD       FD
	Flags    uint32 // as granted
	Features uint32
	SQEs     []URingSQE
	CQEs     []URingCQE

	sqHead, sqTail, sqFlags *uint32
	cqHead, cqTail          *uint32
	sqLocal                 uint32 // the tail, not yet published

	enterFD    FD
	enterFlags uint32
	mapped     [][]byte

	// Arguments of Wait: on a stack they could move before the call.
	arg      uringGeteventsArg
	timespec uringTimespec
}

// OpenURing creates a ring. The descriptor is close-on-exec.
func OpenURing(entries, completions, flags uint32) (*URing, syscall.Errno) {
	p := uringParams{Flags: flags, CQEntries: completions}
	fd, _, e := unix.Syscall(unix.SYS_IO_URING_SETUP, uintptr(entries), uintptr(unsafe.Pointer(&p)), 0)
	if e != 0 {
		return nil, e
	}
	r := &URing{FD: FD(fd), enterFD: FD(fd), Flags: flags, Features: p.Features}
	if e := r.mmap(&p); e != 0 {
		r.Close()
		return nil, e
	}
	return r, 0
}

func (r *URing) mmap(p *uringParams) syscall.Errno {
	sqBytes := int(p.SQOff.Array + p.SQEntries*4)
	cqBytes := int(p.CQOff.CQEs) + int(p.CQEntries)*int(unsafe.Sizeof(URingCQE{}))
	if p.Features&IORING_FEAT_SINGLE_MMAP != 0 {
		sqBytes = max(sqBytes, cqBytes)
	}
	sq, e := r.mapPart(ioringOffSQRing, sqBytes)
	if e != 0 {
		return e
	}
	cq := sq
	if p.Features&IORING_FEAT_SINGLE_MMAP == 0 {
		if cq, e = r.mapPart(ioringOffCQRing, cqBytes); e != 0 {
			return e
		}
	}
	sqes, e := r.mapPart(ioringOffSQEs, int(p.SQEntries)*int(unsafe.Sizeof(URingSQE{})))
	if e != 0 {
		return e
	}
	word := func(b []byte, offset uint32) *uint32 { return (*uint32)(unsafe.Pointer(&b[offset])) }
	r.sqHead, r.sqTail, r.sqFlags = word(sq, p.SQOff.Head), word(sq, p.SQOff.Tail), word(sq, p.SQOff.Flags)
	r.cqHead, r.cqTail = word(cq, p.CQOff.Head), word(cq, p.CQOff.Tail)
	r.SQEs = unsafe.Slice((*URingSQE)(unsafe.Pointer(&sqes[0])), p.SQEntries)
	r.CQEs = unsafe.Slice((*URingCQE)(unsafe.Pointer(&cq[p.CQOff.CQEs])), p.CQEntries)
	array := unsafe.Slice(word(sq, p.SQOff.Array), p.SQEntries)
	for i := range array {
		array[i] = uint32(i)
	}
	return 0
}

// mapPart maps a part of the ring. A child does not inherit it: after fork's copy-on-write
// a process might not have the memory that the kernel uses.
func (r *URing) mapPart(offset int64, bytes int) ([]byte, syscall.Errno) {
	b, err := unix.Mmap(r.FD, offset, bytes, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED|unix.MAP_POPULATE)
	if err != nil {
		return nil, errno(err)
	}
	unix.Madvise(b, unix.MADV_DONTFORK)
	r.mapped = append(r.mapped, b)
	return b, 0
}

// osClose closes the ring. The kernel may end operations in flight later.
func (r *URing) Close() {
	for _, b := range r.mapped {
		unix.Munmap(b)
	}
	r.mapped = nil
	osClose(r.FD)
}

// Enable enables a ring that was created with IORING_SETUP_R_DISABLED. The calling thread
// becomes its issuer.
func (r *URing) Enable() syscall.Errno {
	return r.register(ioringRegisterEnableRings, nil, 0)
}

// RegisterFD registers the ring's descriptor with the calling thread, which saves the
// look-up in each call. Only this thread may then enter the ring. On kernels without that
// (before 5.18) it does nothing.
func (r *URing) RegisterFD() {
	u := uringRsrcUpdate{Offset: ^uint32(0), Data: uint64(r.FD)}
	n, _, e := unix.Syscall6(unix.SYS_IO_URING_REGISTER, uintptr(r.FD), ioringRegisterRingFDs, uintptr(unsafe.Pointer(&u)), 1, 0, 0)
	if e == 0 && n == 1 {
		r.enterFD, r.enterFlags = FD(u.Offset), IORING_ENTER_REGISTERED_RING
	}
}

// IsRegistered reports whether RegisterFD has registered the descriptor.
func (r *URing) IsRegistered() bool { return r.enterFlags != 0 }

// UnregisterFD undoes RegisterFD, on the same thread: otherwise the thread would keep the
// ring open for as long as it lives.
func (r *URing) UnregisterFD() {
	if !r.IsRegistered() {
		return
	}
	u := uringRsrcUpdate{Offset: uint32(r.enterFD)}
	r.enterFD, r.enterFlags = r.FD, 0
	r.register(ioringUnregisterRingFDs, unsafe.Pointer(&u), 1)
}

// Supports returns those of the operations that the kernel lacks.
func (r *URing) Supports(ops ...uint8) (missing []uint8, e syscall.Errno) {
	var p uringProbe
	if e := r.register(ioringRegisterProbe, unsafe.Pointer(&p), uintptr(len(p.Ops))); e != 0 {
		return nil, e
	}
	const supported = 1
	for _, op := range ops {
		if op > p.LastOp || p.Ops[op].Flags&supported == 0 {
			missing = append(missing, op)
		}
	}
	return missing, 0
}

func (r *URing) register(op uintptr, arg unsafe.Pointer, n uintptr) syscall.Errno {
	_, _, e := unix.Syscall6(unix.SYS_IO_URING_REGISTER, uintptr(r.FD), op, uintptr(arg), n, 0, 0)
	return e
}

// Next returns a cleared entry for the caller to fill in, or nil if the queue is full.
func (r *URing) Next() *URingSQE {
	if r.sqLocal-atomic.LoadUint32(r.sqHead) >= uint32(len(r.SQEs)) {
		return nil
	}
	q := &r.SQEs[r.sqLocal&uint32(len(r.SQEs)-1)]
	r.sqLocal++
	*q = URingSQE{}
	return q
}

// Pending returns how many entries the kernel has not taken yet.
func (r *URing) Pending() int { return int(r.sqLocal - atomic.LoadUint32(r.sqHead)) }

// Submit submits the entries. With IORING_ENTER_GETEVENTS in flags, the kernel also posts
// pending completions. It does not block.
func (r *URing) Submit(flags uint32) syscall.Errno {
	n := r.publish()
	_, _, e := unix.RawSyscall6(unix.SYS_IO_URING_ENTER, uintptr(r.enterFD), n, 0, uintptr(flags|r.enterFlags), 0, 0)
	return e
}

// SubmitLong is Submit for operations that take long: the call is not raw.
func (r *URing) SubmitLong(flags uint32) syscall.Errno {
	n := r.publish()
	_, _, e := unix.Syscall6(unix.SYS_IO_URING_ENTER, uintptr(r.enterFD), n, 0, uintptr(flags|r.enterFlags), 0, 0)
	return e
}

// Wait is Submit, and blocks the thread until there is a completion, the timeout has passed
// (ETIME), or a signal arrives (EINTR). A negative timeout means none.
func (r *URing) Wait(timeout time.Duration) syscall.Errno {
	n := r.publish()
	r.arg.TS = 0
	if timeout >= 0 {
		r.timespec = uringTimespec{int64(timeout / time.Second), int64(timeout % time.Second)}
		r.arg.TS = uint64(uintptr(unsafe.Pointer(&r.timespec)))
	}
	_, _, e := unix.Syscall6(unix.SYS_IO_URING_ENTER, uintptr(r.enterFD), n, 1,
		uintptr(IORING_ENTER_GETEVENTS|IORING_ENTER_EXT_ARG|r.enterFlags), uintptr(unsafe.Pointer(&r.arg)), unsafe.Sizeof(r.arg))
	return e
}

func (r *URing) publish() uintptr {
	atomic.StoreUint32(r.sqTail, r.sqLocal)
	return uintptr(r.Pending())
}

// Ready returns the range of available completions, for At.
func (r *URing) Ready() (first, end uint32) { return *r.cqHead, atomic.LoadUint32(r.cqTail) }

// At returns a completion in the range of Ready.
func (r *URing) At(i uint32) *URingCQE { return &r.CQEs[i&uint32(len(r.CQEs)-1)] }

// Seen returns the entries of the completions before end to the kernel.
func (r *URing) Seen(end uint32) { atomic.StoreUint32(r.cqHead, end) }

// SQFlags returns the flags that the kernel sets in the submission queue.
func (r *URing) SQFlags() uint32 { return atomic.LoadUint32(r.sqFlags) }

// SetPoll makes the entry a poll for events.
func (q *URingSQE) SetPoll(fd FD, events uint32, flags uint32) {
	if bigEndian {
		events = events<<16 | events>>16 // poll32_events is word-reversed on big-endian systems
	}
	q.Opcode, q.FD, q.OpFlags, q.Len = IORING_OP_POLL_ADD, int32(fd), events, flags
}

// SetSend makes the entry a send(2) of b, which must not move or change until it has ended.
func (q *URingSQE) SetSend(fd FD, b []byte) {
	q.Opcode, q.FD = IORING_OP_SEND, int32(fd)
	q.Addr, q.Len = uint64(uintptr(dataOf(b))), uint32(min(len(b), maxURingSend))
	q.OpFlags = noSignal
}

// maxURingSend is the maximum of one send, whose result has 31 bits.
const maxURingSend = 1 << 30

// URingMessage is the argument of a vectored send, which the kernel may read until it has
// ended. It keeps the buffers reachable.
type URingMessage struct {
	h unix.Msghdr
	v Iovecs
}

// Add appends b, or returns false if m is full.
func (m *URingMessage) Add(b []byte) bool { return m.v.Add(b) }

// Clear removes all buffers.
func (m *URingMessage) Clear() {
	clear(m.v.v[:m.v.n])
	m.v.n, m.v.Bytes = 0, 0
}

// SetSendv makes the entry a sendmsg(2) of m.
func (q *URingSQE) SetSendv(fd FD, m *URingMessage) {
	m.h.Iov = &m.v.v[0]
	m.h.SetIovlen(m.v.n)
	q.Opcode, q.FD = IORING_OP_SENDMSG, int32(fd)
	q.Addr, q.Len, q.OpFlags = uint64(uintptr(unsafe.Pointer(&m.h))), 1, noSignal
}

// SetSendTo makes the entry a send of one datagram to the address, or without one to the
// connected peer. b and the address must stay until it has ended. An address requires Linux
// 6.1. If the send would block, it ends with EAGAIN before the call that submits it returns.
func (q *URingSQE) SetSendTo(fd FD, b []byte, to *Sockaddr) {
	q.SetSend(fd, b)
	q.OpFlags |= unix.MSG_DONTWAIT
	if to != nil {
		q.Off = uint64(uintptr(unsafe.Pointer(&to.raw)))
		q.FileIndex = int32(to.Len) // a __u16 addr_len, and 16 bits of padding
		if bigEndian {
			q.FileIndex <<= 16
		}
	}
}

// URingDatagram is the argument of a send of one datagram by sendmsg(2), for kernels that
// do not support SetSendTo with an address.
type URingDatagram struct {
	h   unix.Msghdr
	iov unix.Iovec
}

// SetSendDatagram makes the entry a sendmsg(2) of b. b, m and the address must stay until it
// has ended. Like SetSendTo it does not wait.
func (q *URingSQE) SetSendDatagram(fd FD, m *URingDatagram, b []byte, to *Sockaddr) {
	m.iov.Base = unsafe.SliceData(b)
	m.iov.SetLen(len(b))
	m.h = unix.Msghdr{Iov: &m.iov}
	m.h.SetIovlen(1)
	if to != nil {
		m.h.Name, m.h.Namelen = (*byte)(unsafe.Pointer(&to.raw)), to.Len
	}
	q.Opcode, q.FD = IORING_OP_SENDMSG, int32(fd)
	q.Addr, q.Len, q.OpFlags = uint64(uintptr(unsafe.Pointer(&m.h))), 1, noSignal|unix.MSG_DONTWAIT
}

// URingReceive is the argument of a multishot recvmsg(2): it requests IP addresses and no
// control messages. It must stay for as long as the receives that use it.
type URingReceive struct{ h unix.Msghdr }

// uringRecvmsgOut is struct io_uring_recvmsg_out, the header at the start of a buffer. The
// address follows, in the space requested for it, then the data.
type uringRecvmsgOut struct{ NameLen, ControlLen, PayloadLen, Flags uint32 }

// DatagramOverhead is the number of bytes in a buffer before the datagram.
const DatagramOverhead = int(unsafe.Sizeof(uringRecvmsgOut{})) + sizeInet6

// SetRecvDatagrams makes the entry a multishot recvmsg(2) into the buffers of a group.
func (q *URingSQE) SetRecvDatagrams(fd FD, m *URingReceive, group uint16) {
	m.h.Namelen = sizeInet6
	q.Opcode, q.FD, q.Ioprio = IORING_OP_RECVMSG, int32(fd), IORING_RECV_MULTISHOT
	q.Addr, q.Len = uint64(uintptr(unsafe.Pointer(&m.h))), 1
	q.Flags, q.BufGroup = IOSQE_BUFFER_SELECT, group
}

// Datagram returns the datagram that such a receive has stored in a buffer, n bytes with
// the overhead.
func (b *URingBuffers) Datagram(id uint16, n int) (data []byte, from netip.AddrPort, truncated bool) {
	all := b.Get(id, n)
	if n < DatagramOverhead {
		return nil, from, true
	}
	out := (*uringRecvmsgOut)(unsafe.Pointer(&all[0]))
	if out.NameLen > 0 {
		from = addrPort((*rawUnix)(unsafe.Pointer(&all[unsafe.Sizeof(*out)])))
	}
	return all[DatagramOverhead:], from, out.Flags&unix.MSG_TRUNC != 0
}

// SetAccept makes the entry a multishot accept4(2).
func (q *URingSQE) SetAccept(fd FD) {
	q.Opcode, q.FD, q.Ioprio = IORING_OP_ACCEPT, int32(fd), IORING_ACCEPT_MULTISHOT
	q.OpFlags = createFlags
}

// SetConnect makes the entry a connect(2) to an address that must stay until it has ended.
func (q *URingSQE) SetConnect(fd FD, to *Sockaddr) {
	q.Opcode, q.FD = IORING_OP_CONNECT, int32(fd)
	q.Addr, q.Off = uint64(uintptr(unsafe.Pointer(&to.raw))), uint64(to.Len)
}

// SetRecv makes the entry a multishot receive into the buffers of a group. With bundle,
// which requires IORING_FEAT_RECVSEND_BUNDLE, one completion may fill several buffers, in
// the order in which they were given (Give).
func (q *URingSQE) SetRecv(fd FD, group uint16, bundle bool) {
	q.Opcode, q.FD, q.Ioprio = IORING_OP_RECV, int32(fd), IORING_RECV_MULTISHOT
	if bundle {
		q.Ioprio |= IORING_RECVSEND_BUNDLE
	}
	q.Flags, q.BufGroup = IOSQE_BUFFER_SELECT, group
}

// SetRecvSome is SetRecv that ends after most bytes, or less than one buffer more (Linux
// 6.17).
func (q *URingSQE) SetRecvSome(fd FD, group uint16, bundle bool, most int) {
	q.SetRecv(fd, group, bundle)
	q.FileIndex = int32(most)
}

// SetRecvOnce makes the entry one receive, into one buffer of a group, or several with bundle
// (SetRecv).
func (q *URingSQE) SetRecvOnce(fd FD, group uint16, bundle bool) {
	q.SetRecv(fd, group, bundle)
	q.Ioprio &^= IORING_RECV_MULTISHOT
}

// SetCancel makes the entry cancel the operation with that user data. The entry itself has
// a completion only if it fails.
func (q *URingSQE) SetCancel(userData uint64) {
	q.Opcode, q.FD, q.Addr = IORING_OP_ASYNC_CANCEL, -1, userData
	q.Flags = IOSQE_CQE_SKIP_SUCCESS
}

// URingBuffers is a ring of buffers for a URing's receives. All of it is outside the Go
// heap.
type URingBuffers struct {
	Size   int
	ring   []uringBuf
	memory []byte
	mapped []byte
	tail   uint16
	slot   []uint16 // by buffer number: the index in ring of its last Give
}

// RegisterBuffers allocates n buffers, a power of two up to 32768, of size bytes each, and
// registers them with the ring as group.
func (r *URing) RegisterBuffers(group uint16, n, size int) (*URingBuffers, syscall.Errno) {
	const prot, flags = unix.PROT_READ | unix.PROT_WRITE, unix.MAP_ANON | unix.MAP_PRIVATE
	b := &URingBuffers{Size: size, slot: make([]uint16, n)}
	mapped, err := unix.Mmap(-1, 0, n*int(unsafe.Sizeof(uringBuf{})), prot, flags)
	if err != nil {
		return nil, errno(err)
	}
	b.mapped = mapped
	if b.memory, err = unix.Mmap(-1, 0, n*size, prot, flags); err != nil {
		b.Free()
		return nil, errno(err)
	}
	unix.Madvise(b.mapped, unix.MADV_DONTFORK)
	unix.Madvise(b.memory, unix.MADV_DONTFORK)
	b.ring = unsafe.Slice((*uringBuf)(unsafe.Pointer(&mapped[0])), n)
	reg := uringBufReg{RingAddr: uint64(uintptr(unsafe.Pointer(&mapped[0]))), RingEntries: uint32(n), BGID: group}
	if e := r.register(ioringRegisterPbufRing, unsafe.Pointer(&reg), 1); e != 0 {
		b.Free()
		return nil, e
	}
	for i := range n {
		b.Give(uint16(i))
	}
	b.Publish()
	return b, 0
}

// Len returns the number of buffers.
func (b *URingBuffers) Len() int { return len(b.ring) }

// Get returns n bytes from the start of a buffer. The buffers with the following numbers
// come directly after it.
func (b *URingBuffers) Get(id uint16, n int) []byte {
	lo := int(id) * b.Size
	return b.memory[lo : lo+n : lo+n]
}

// After returns the buffer that was given after id, which comes next in a bundle. id must
// not have been given again since the kernel has taken it.
func (b *URingBuffers) After(id uint16) uint16 {
	return b.ring[int(b.slot[id]+1)&(len(b.ring)-1)].BID
}

// Give gives a buffer to the kernel, which sees it after Publish.
func (b *URingBuffers) Give(id uint16) {
	i := int(b.tail) & (len(b.ring) - 1)
	x := &b.ring[i]
	x.Addr, x.Len = uint64(uintptr(unsafe.Pointer(&b.memory[int(id)*b.Size]))), uint32(b.Size)
	x.BID = id
	b.slot[id] = uint16(i)
	b.tail++
}

// Publish makes the given buffers visible to the kernel. The tail has 16 bits, for which
// there is no atomic store: it is stored together with the adjacent field, the first
// entry's buffer number, which the kernel only reads.
func (b *URingBuffers) Publish() {
	first := &b.ring[0]
	low, high := uint32(first.BID), uint32(b.tail)
	if bigEndian {
		low, high = high, low
	}
	atomic.StoreUint32((*uint32)(unsafe.Pointer(&first.BID)), high<<16|low)
}

// Free frees the memory. The ring must be closed.
func (b *URingBuffers) Free() {
	for _, m := range [][]byte{b.mapped, b.memory} {
		if m != nil {
			unix.Munmap(m)
		}
	}
	b.mapped, b.memory, b.ring = nil, nil, nil
}
