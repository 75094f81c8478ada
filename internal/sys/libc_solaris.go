package sys

import "unsafe" // also for the linker's directives

//go:cgo_import_dynamic libc_read read "libc.so"
//go:cgo_import_dynamic libc_write write "libc.so"
//go:cgo_import_dynamic libc_recvfrom recvfrom "libsocket.so"
//go:cgo_import_dynamic libc___xnet_recvmsg __xnet_recvmsg "libsocket.so"
//go:cgo_import_dynamic libc___xnet_sendto __xnet_sendto "libsocket.so"
//go:cgo_import_dynamic libc___xnet_sendmsg __xnet_sendmsg "libsocket.so"
//go:cgo_import_dynamic libc___xnet_connect __xnet_connect "libsocket.so"
//go:cgo_import_dynamic libc___xnet_bind __xnet_bind "libsocket.so"
//go:cgo_import_dynamic libc_getsockname getsockname "libsocket.so"
//go:cgo_import_dynamic libc_getpeername getpeername "libsocket.so"
//go:cgo_import_dynamic libc_accept accept "libsocket.so"

//go:linkname procRead libc_read
//go:linkname procWrite libc_write
//go:linkname procRecvfrom libc_recvfrom
//go:linkname procRecvmsg libc___xnet_recvmsg
//go:linkname procSendto libc___xnet_sendto
//go:linkname procSendmsg libc___xnet_sendmsg
//go:linkname procConnect libc___xnet_connect
//go:linkname procBind libc___xnet_bind
//go:linkname procGetsockname libc_getsockname
//go:linkname procGetpeername libc_getpeername
//go:linkname procAccept libc_accept

// The dynamic linker stores the functions' addresses in these variables.
var (
	procRead,
	procWrite,
	procRecvfrom,
	procRecvmsg,
	procSendto,
	procSendmsg,
	procConnect,
	procBind,
	procGetsockname,
	procGetpeername,
	procAccept uintptr
)

// The arguments of rawCall and longCall: pointers to the variables above, from which Go's
// runtime reads the function's address.
var (
	sysRead,
	sysWrite,
	sysRecvfrom,
	sysRecvmsg,
	sysSendto,
	sysSendmsg,
	sysConnect,
	sysBind,
	sysGetsockname,
	sysGetpeername,
	sysAccept uintptr
)

// The linker relocates the address of a variable in code, but not in data, where initial
// values in the declarations would be.
func init() {
	sysRead = uintptr(unsafe.Pointer(&procRead))
	sysWrite = uintptr(unsafe.Pointer(&procWrite))
	sysRecvfrom = uintptr(unsafe.Pointer(&procRecvfrom))
	sysRecvmsg = uintptr(unsafe.Pointer(&procRecvmsg))
	sysSendto = uintptr(unsafe.Pointer(&procSendto))
	sysSendmsg = uintptr(unsafe.Pointer(&procSendmsg))
	sysConnect = uintptr(unsafe.Pointer(&procConnect))
	sysBind = uintptr(unsafe.Pointer(&procBind))
	sysGetsockname = uintptr(unsafe.Pointer(&procGetsockname))
	sysGetpeername = uintptr(unsafe.Pointer(&procGetpeername))
	sysAccept = uintptr(unsafe.Pointer(&procAccept))
}
