package sys

import (
	"syscall"
	"unsafe"

	"golang.org/x/sys/windows"
)

// OpenAFD opens the AFD driver for polls, whose completions go to port with key. The
// name after \Device\Afd is arbitrary and helps debugging; without further attributes the
// handle is not a socket.
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
	// No thread waits for the handle itself, so do not signal it with each completion.
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

// Errno returns the error number for s.
func (s NTStatus) Errno() syscall.Errno { return errnoOf(windows.NTStatus(s).Errno()) }

// StartPoll starts a poll for events of the socket with the base handle. context is the
// Overlapped field of the completion and must not be zero. If the result is Failed, no
// completion follows; otherwise one does, and p belongs to the kernel until then.
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

// CancelPoll cancels a poll that has not completed: its completion still comes.
func CancelPoll(afd FD, p *AFDPoll) NTStatus {
	if p.IOStatusBlock.Status != STATUS_PENDING {
		return STATUS_SUCCESS
	}
	var iosb IOStatusBlock
	r, _, _ := syscall.SyscallN(procNtCancelIoFileEx.Addr(), uintptr(afd),
		uintptr(unsafe.Pointer(&p.IOStatusBlock)), uintptr(unsafe.Pointer(&iosb)))
	return NTStatus(r)
}

// BaseSocket returns the handle by which AFD identifies the socket. Layered service
// providers return handles of their own. They must pass on SIO_BASE_HANDLE, but some do
// not, and return the next lower handle only for the requests that Winsock makes for
// select, WSAPoll and similar calls.
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

// PollSlots allocates zeroed memory for n polls outside the Go heap: the garbage collector
// must neither move nor free memory to which the kernel writes. The memory is never freed.
func PollSlots(n int) ([]*AFDPoll, syscall.Errno) {
	addr, err := windows.VirtualAlloc(0, uintptr(n*PollSlotBytes), windows.MEM_COMMIT|windows.MEM_RESERVE, windows.PAGE_READWRITE)
	if err != nil {
		return nil, errno(err)
	}
	// Go does not manage this memory, so it may have a uintptr address; the conversion
	// through a pointer keeps vet from complaining.
	first := *(*unsafe.Pointer)(unsafe.Pointer(&addr))
	slots := make([]*AFDPoll, n)
	for i := range slots {
		slots[i] = (*AFDPoll)(unsafe.Add(first, i*PollSlotBytes))
	}
	return slots, 0
}
