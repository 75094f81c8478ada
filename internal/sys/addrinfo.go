package sys

// AddrInfoEx is ADDRINFOEXW, as a result of GetAddrInfoExW and as its hints. Pointers are numbers:
// they point into memory of the system. This file has no OS in its name so that the layout is
// checked on every system.
type AddrInfoEx struct {
	Flags, Family, SockType, Protocol int32
	AddrLen                           uintptr
	CanonName                         uintptr
	Addr                              uintptr // of sockaddr
	Blob                              uintptr
	BlobLen                           uintptr
	Provider                          uintptr
	Next                              uintptr // of AddrInfoEx
}
