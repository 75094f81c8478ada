package sys

import (
	"net/netip"
	"syscall"
	"unsafe"

	"golang.org/x/sys/windows"
)

// Errors of GetAddrInfoExW, which errnoOf does not translate: POSIX has no numbers for them.
const (
	WSAHOST_NOT_FOUND = windows.WSAHOST_NOT_FOUND // no such name
	WSATRY_AGAIN      = windows.WSATRY_AGAIN      // no server has answered
	WSANO_DATA        = windows.WSANO_DATA        // the name has no addresses
	WSAECANCELLED     = windows.WSAECANCELLED     // the request was canceled
	WSA_E_CANCELLED   = windows.WSA_E_CANCELLED   // the same
)

// MaxAddrs is the maximum number of addresses of one name.
const MaxAddrs = 1024

// An AddrInfoRequest is a lookup by GetAddrInfoExW. The system writes into it until the completion: it must
// be a part of a variable of a package, which the garbage collector neither moves nor frees.
type AddrInfoRequest struct {
	overlapped Overlapped
	hints      AddrInfoEx
	result     uintptr // of AddrInfoEx, in memory of the system
	handle     uintptr // for GetAddrInfoExCancel; 0 if the system has none
	name       *uint16
}

// HasAddrInfoEx reports whether the system can look up addresses without a thread that waits, and end
// that: Windows 8.
func HasAddrInfoEx() bool {
	for _, p := range []*windows.LazyProc{procGetAddrInfoExW, procGetAddrInfoExCancel, procFreeAddrInfoExW} {
		if p.Find() != nil {
			return false
		}
	}
	return true
}

// Prepare prepares a lookup of the addresses of name, of both families. The request must not be in flight.
func (q *AddrInfoRequest) Prepare(name string) syscall.Errno {
	if e := startWinsock(); e != 0 {
		return e
	}
	p, err := windows.UTF16PtrFromString(name)
	if err != nil { // the name has a zero byte
		return WSAHOST_NOT_FOUND
	}
	// The type of the sockets avoids one result for each type.
	*q = AddrInfoRequest{name: p, hints: AddrInfoEx{Family: AF_UNSPEC, SockType: SOCK_STREAM}}
	return 0
}

// Start starts a lookup that has been prepared. If pending, the system calls completion
// (LPLOOKUPSERVICE_COMPLETION_ROUTINE) on a thread of its own, once, possibly before Start returns: with
// an error number, a number without meaning, and q.ID(). Otherwise the lookup has ended, and e is its
// result. Start changes nothing of q, so that the completion may access q at once.
func (q *AddrInfoRequest) Start(completion uintptr) (pending bool, e syscall.Errno) {
	const allNamespaces = 0 // NS_ALL
	r, _, _ := syscall.SyscallN(procGetAddrInfoExW.Addr(), uintptr(unsafe.Pointer(q.name)), 0, allNamespaces, 0,
		uintptr(unsafe.Pointer(&q.hints)), uintptr(unsafe.Pointer(&q.result)), 0,
		uintptr(unsafe.Pointer(&q.overlapped)), completion, uintptr(unsafe.Pointer(&q.handle)))
	if e = syscall.Errno(r); e == syscall.Errno(windows.ERROR_IO_PENDING) {
		return true, 0
	}
	return false, e
}

// ID is the address that identifies the request in its completion.
func (q *AddrInfoRequest) ID() uintptr { return uintptr(unsafe.Pointer(&q.overlapped)) }

// Cancel makes the completion come soon, with an error; if the request has ended, it does nothing. It must
// be called between Start's return and the next Prepare. Wine does not support it: there the completion comes
// when the lookup has ended.
func (q *AddrInfoRequest) Cancel() {
	if q.handle != 0 {
		syscall.SyscallN(procGetAddrInfoExCancel.Addr(), uintptr(unsafe.Pointer(&q.handle)))
	}
}

// Take returns the addresses of a lookup that has ended, at most MaxAddrs, and releases what the system
// has of it. It must be called once for each Start, whatever the lookup's result is.
func (q *AddrInfoRequest) Take() []netip.Addr {
	addrs := addrsOf(q.result)
	if q.result != 0 {
		syscall.SyscallN(procFreeAddrInfoExW.Addr(), q.result)
	}
	q.result, q.name = 0, nil
	return addrs
}

// addrsOf returns the addresses of a list of AddrInfoEx.
func addrsOf(first uintptr) []netip.Addr {
	var addrs []netip.Addr
	for at := first; at != 0 && len(addrs) < MaxAddrs; {
		info := (*AddrInfoEx)(systemPointer(&at))
		if a := addrOf(info); a.IsValid() {
			addrs = append(addrs, a)
		}
		at = info.Next
	}
	return addrs
}

// addrOf returns the address of a result, or the zero Addr if it is of another family, or incomplete.
func addrOf(info *AddrInfoEx) netip.Addr {
	switch {
	case info.Addr == 0,
		info.Family == AF_INET && info.AddrLen < sizeInet4,
		info.Family == AF_INET6 && info.AddrLen < sizeInet6,
		info.Family != AF_INET && info.Family != AF_INET6:
		return netip.Addr{}
	}
	var raw Sockaddr
	n := min(info.AddrLen, unsafe.Sizeof(raw.raw))
	copy((*[unsafe.Sizeof(raw.raw)]byte)(unsafe.Pointer(&raw.raw))[:], unsafe.Slice((*byte)(systemPointer(&info.Addr)), n))
	raw.Len = uint32(n)
	return raw.AddrPort().Addr()
}

// systemPointer converts an address in memory that Go does not manage; through a pointer, because vet
// complains of the direct conversion.
func systemPointer(addr *uintptr) unsafe.Pointer { return *(*unsafe.Pointer)(unsafe.Pointer(addr)) }
