package sys

import (
	"syscall"
	"unsafe"

	"golang.org/x/sys/windows"
)

// OpenAFD opens the AFD driver, for polls only, and has their completions sent to
// port under key. The name after \Device\Afd is for people; without further
// attributes a handle is no socket of its own.
func OpenAFD(port FD, key uintptr) (FD, syscall.Errno) {
	name, err := windows.NewNTUnicodeString(`\Device\Afd\Pollux`)
	if err != nil {
		return InvalidFD, errno(err)
	}
	oa := &windows.OBJECT_ATTRIBUTES{ObjectName: name}
	oa.Length = uint32(unsafe.Sizeof(*oa))
	var afd FD
	var iosb windows.IO_STATUS_BLOCK
	err = windows.NtCreateFile(&afd, windows.SYNCHRONIZE, oa, &iosb, nil, 0,
		windows.FILE_SHARE_READ|windows.FILE_SHARE_WRITE, windows.FILE_OPEN, 0, 0, 0)
	if err != nil {
		return InvalidFD, errnoOfStatus(err)
	}
	if _, err := windows.CreateIoCompletionPort(afd, port, key, 0); err != nil {
		windows.CloseHandle(afd)
		return InvalidFD, errno(err)
	}
	// Nobody waits for the handle itself; to signal it with each completion would
	// be for nothing.
	if err := windows.SetFileCompletionNotificationModes(afd, windows.FILE_SKIP_SET_EVENT_ON_HANDLE); err != nil {
		windows.CloseHandle(afd)
		return InvalidFD, errno(err)
	}
	return afd, 0
}

func errnoOfStatus(err error) syscall.Errno {
	if s, ok := err.(windows.NTStatus); ok {
		return errnoOf(s.Errno())
	}
	return errno(err)
}

// Errno returns the error number that stands for s.
func (s NTStatus) Errno() syscall.Errno { return errnoOf(windows.NTStatus(s).Errno()) }

// StartPoll asks AFD for events of the socket with the base handle; context comes
// back as the completion's Overlapped and must not be zero. Either a completion
// follows and the result is not Failed, or none does. p stays the kernel's until
// then.
func StartPoll(afd, base FD, p *AFDPoll, events uint32, context uintptr) NTStatus {
	const ioctlAFDPoll = 0x00012024
	p.IOStatusBlock = IOStatusBlock{Status: STATUS_PENDING}
	p.AFDPollInfo = AFDPollInfo{
		Timeout:         1<<63 - 1,
		NumberOfHandles: 1,
		Handle:          uintptr(base),
		Events:          events,
	}
	r, _, _ := syscall.SyscallN(procNtDeviceIoControlFile.Addr(), uintptr(afd), 0, 0, context,
		uintptr(unsafe.Pointer(&p.IOStatusBlock)), ioctlAFDPoll,
		uintptr(unsafe.Pointer(&p.AFDPollInfo)), AFDPollInfoBytes,
		uintptr(unsafe.Pointer(&p.AFDPollInfo)), AFDPollInfoBytes)
	return NTStatus(r)
}

// CancelPoll makes a poll complete soon, if it has not: its completion still comes.
func CancelPoll(afd FD, p *AFDPoll) NTStatus {
	if p.IOStatusBlock.Status != STATUS_PENDING {
		return STATUS_SUCCESS
	}
	var iosb IOStatusBlock
	r, _, _ := syscall.SyscallN(procNtCancelIoFileEx.Addr(), uintptr(afd),
		uintptr(unsafe.Pointer(&p.IOStatusBlock)), uintptr(unsafe.Pointer(&iosb)))
	return NTStatus(r)
}

// BaseSocket returns the handle that AFD knows the socket by. Layered service
// providers hand out handles of their own; they must pass SIO_BASE_HANDLE on, but
// some do not, and give away the next lower handle only by the requests that
// Winsock makes of them for select, WSAPoll and the like.
func BaseSocket(fd FD) (FD, syscall.Errno) {
	const (
		sioBaseHandle      = 0x48000022
		sioBSPHandle       = 0x4800001B
		sioBSPHandleSelect = 0x4800001C
		sioBSPHandlePoll   = 0x4800001D
		maxLayers          = 16
	)
	for range maxLayers {
		base, e := handleIoctl(fd, sioBaseHandle)
		if e == 0 || e == syscall.ENOTSOCK || e == syscall.EBADF {
			return base, e
		}
		lower := fd
		for _, code := range []uint32{sioBSPHandleSelect, sioBSPHandlePoll, sioBSPHandle} {
			if h, e := handleIoctl(fd, code); e == 0 && h != fd {
				lower = h
				break
			}
		}
		if lower == fd {
			return InvalidFD, e
		}
		fd = lower
	}
	return InvalidFD, syscall.ELOOP
}

func handleIoctl(fd FD, code uint32) (FD, syscall.Errno) {
	h := InvalidFD
	e := ioctl(fd, code, nil, 0, unsafe.Pointer(&h), unsafe.Sizeof(h))
	if e == 0 && h == InvalidFD {
		e = syscall.ENOTSOCK
	}
	return h, e
}

// PollSlots returns fresh memory for n polls, zero and off the Go heap: the
// garbage collector must neither move nor free what a kernel writes to. It is
// never given back.
func PollSlots(n int) ([]*AFDPoll, syscall.Errno) {
	addr, err := windows.VirtualAlloc(0, uintptr(n*PollSlotBytes), windows.MEM_COMMIT|windows.MEM_RESERVE, windows.PAGE_READWRITE)
	if err != nil {
		return nil, errno(err)
	}
	// Memory that Go does not manage may be named by a number; vet cannot know.
	first := *(*unsafe.Pointer)(unsafe.Pointer(&addr))
	slots := make([]*AFDPoll, n)
	for i := range slots {
		slots[i] = (*AFDPoll)(unsafe.Add(first, i*PollSlotBytes))
	}
	return slots, 0
}
