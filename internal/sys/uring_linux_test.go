package sys

import (
	"testing"
	"unsafe"
)

// TestURingLayouts compares the layouts of the structures with <linux/io_uring.h>, where
// they are the same on all architectures.
func TestURingLayouts(t *testing.T) {
	var (
		sqe    URingSQE
		cqe    URingCQE
		params uringParams
		reg    uringBufReg
		buf    uringBuf
		arg    uringGeteventsArg
		probe  uringProbe
		update uringRsrcUpdate
		out    uringRecvmsgOut
	)
	for _, c := range []struct {
		what      string
		got, want uintptr
	}{
		{"sizeof io_uring_sqe", unsafe.Sizeof(sqe), 64},
		{"sqe.fd", unsafe.Offsetof(sqe.FD), 4},
		{"sqe.off", unsafe.Offsetof(sqe.Off), 8},
		{"sqe.addr", unsafe.Offsetof(sqe.Addr), 16},
		{"sqe.len", unsafe.Offsetof(sqe.Len), 24},
		{"sqe.msg_flags", unsafe.Offsetof(sqe.OpFlags), 28},
		{"sqe.user_data", unsafe.Offsetof(sqe.UserData), 32},
		{"sqe.buf_group", unsafe.Offsetof(sqe.BufGroup), 40},
		{"sqe.personality", unsafe.Offsetof(sqe.Personality), 42},
		{"sqe.file_index", unsafe.Offsetof(sqe.FileIndex), 44},
		{"sqe.addr3", unsafe.Offsetof(sqe.Addr3), 48},
		{"sizeof io_uring_cqe", unsafe.Sizeof(cqe), 16},
		{"cqe.res", unsafe.Offsetof(cqe.Res), 8},
		{"cqe.flags", unsafe.Offsetof(cqe.Flags), 12},
		{"sizeof io_uring_params", unsafe.Sizeof(params), 120},
		{"params.features", unsafe.Offsetof(params.Features), 20},
		{"params.sq_off", unsafe.Offsetof(params.SQOff), 40},
		{"params.cq_off", unsafe.Offsetof(params.CQOff), 80},
		{"sq_off.array", unsafe.Offsetof(params.SQOff.Array), 24},
		{"cq_off.cqes", unsafe.Offsetof(params.CQOff.CQEs), 20},
		{"sizeof io_uring_buf_reg", unsafe.Sizeof(reg), 40},
		{"buf_reg.bgid", unsafe.Offsetof(reg.BGID), 12},
		{"sizeof io_uring_buf", unsafe.Sizeof(buf), 16},
		{"buf.bid", unsafe.Offsetof(buf.BID), 12},
		{"buf_ring.tail", unsafe.Offsetof(buf.Tail), 14},
		{"sizeof io_uring_getevents_arg", unsafe.Sizeof(arg), 24},
		{"getevents_arg.ts", unsafe.Offsetof(arg.TS), 16},
		{"sizeof io_uring_probe", unsafe.Sizeof(probe), 16 + 256*8},
		{"probe.ops", unsafe.Offsetof(probe.Ops), 16},
		{"probe_op.flags", unsafe.Offsetof(probe.Ops[0].Flags), 2},
		{"sizeof io_uring_rsrc_update", unsafe.Sizeof(update), 16},
		{"rsrc_update.data", unsafe.Offsetof(update.Data), 8},
		{"sizeof io_uring_recvmsg_out", unsafe.Sizeof(out), 16},
		{"recvmsg_out.payloadlen", unsafe.Offsetof(out.PayloadLen), 8},
		{"recvmsg_out.flags", unsafe.Offsetof(out.Flags), 12},
		{"sizeof __kernel_timespec", unsafe.Sizeof(uringTimespec{}), 16},
	} {
		if c.got != c.want {
			t.Errorf("%s: %d, want %d", c.what, c.got, c.want)
		}
	}
}

// The tail of a ring of buffers shares a 32-bit word with the first entry's buffer number.
func TestURingBuffersTail(t *testing.T) {
	b := &URingBuffers{Size: 8, ring: make([]uringBuf, 4), memory: make([]byte, 64), slot: make([]uint16, 8)}
	for i := range 6 {
		b.Give(uint16(i))
		b.Publish()
		if b.ring[0].BID != uint16(i&^3) || b.ring[0].Tail != uint16(i+1) {
			t.Fatalf("after %d: first number %d, want %d; tail %d", i+1, b.ring[0].BID, i&^3, b.ring[0].Tail)
		}
	}
	b.tail = 65535
	b.Give(3)
	b.Publish()
	if b.ring[0].Tail != 0 {
		t.Errorf("the tail does not wrap: %d", b.ring[0].Tail)
	}
}
