package sys

import _ "unsafe" // for the linker's directives

//go:cgo_import_dynamic libc_read read "/usr/lib/libSystem.B.dylib"
//go:cgo_import_dynamic libc_write write "/usr/lib/libSystem.B.dylib"
//go:cgo_import_dynamic libc_recvfrom recvfrom "/usr/lib/libSystem.B.dylib"
//go:cgo_import_dynamic libc_recvmsg recvmsg "/usr/lib/libSystem.B.dylib"
//go:cgo_import_dynamic libc_sendto sendto "/usr/lib/libSystem.B.dylib"
//go:cgo_import_dynamic libc_sendmsg sendmsg "/usr/lib/libSystem.B.dylib"
//go:cgo_import_dynamic libc_connect connect "/usr/lib/libSystem.B.dylib"
//go:cgo_import_dynamic libc_bind bind "/usr/lib/libSystem.B.dylib"
//go:cgo_import_dynamic libc_getsockname getsockname "/usr/lib/libSystem.B.dylib"
//go:cgo_import_dynamic libc_getpeername getpeername "/usr/lib/libSystem.B.dylib"
//go:cgo_import_dynamic libc_accept accept "/usr/lib/libSystem.B.dylib"
//go:cgo_import_dynamic libc_kevent kevent "/usr/lib/libSystem.B.dylib"
