package sys

import (
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// The models of other kernels use these functions to inspect a descriptor without changing
// its state.

// Readiness returns the events that poll(2) reports for fd now: POLLIN and so on.
func Readiness(fd FD) int {
	p := unix.PollFd{Fd: int32(fd), Events: POLLIN | POLLPRI | POLLOUT | POLLRDHUP}
	var zero unix.Timespec
	unix.RawSyscall6(unix.SYS_PPOLL, uintptr(unsafe.Pointer(&p)), 1, uintptr(unsafe.Pointer(&zero)), 0, 0, 0)
	return int(p.Revents)
}

// FileID identifies an open file. Files without an inode of their own, such as eventfds,
// have the same FileID.
type FileID struct{ dev, ino uint64 }

// Identify returns the FileID of fd.
func Identify(fd FD) (FileID, syscall.Errno) {
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return FileID{}, errno(err)
	}
	return FileID{uint64(st.Dev), uint64(st.Ino)}, 0
}

// TCPWriteShut reports whether fd is a TCP socket that can no longer send: this side has
// shut down sending, or the connection has ended (TCP_INFO, tcpi_state).
func TCPWriteShut(fd FD) bool {
	v, e := osGetInt(fd, unix.IPPROTO_TCP, unix.TCP_INFO)
	if e != 0 {
		return false
	}
	state := *(*byte)(unsafe.Pointer(&v))
	if bigEndian {
		state = byte(v >> 24)
	}
	switch state {
	case unix.BPF_TCP_FIN_WAIT1, unix.BPF_TCP_FIN_WAIT2, unix.BPF_TCP_CLOSING,
		unix.BPF_TCP_LAST_ACK, unix.BPF_TCP_TIME_WAIT:
		return true
	}
	return false
}
