// libc's functions, reached by a jump so that the linker makes each an import,
// and their addresses as call_libc.go uses them.

#include "textflag.h"

#ifdef GOARCH_386
#define SIZE 4
#endif
#ifdef GOARCH_arm
#define SIZE 4
#endif
#ifndef SIZE
#define SIZE 8
#endif

TEXT jump_read<>(SB), NOSPLIT, $0-0
	JMP	libc_read(SB)
GLOBL ·sysRead(SB), RODATA, $SIZE
DATA ·sysRead(SB)/SIZE, $jump_read<>(SB)

TEXT jump_write<>(SB), NOSPLIT, $0-0
	JMP	libc_write(SB)
GLOBL ·sysWrite(SB), RODATA, $SIZE
DATA ·sysWrite(SB)/SIZE, $jump_write<>(SB)

TEXT jump_recvfrom<>(SB), NOSPLIT, $0-0
	JMP	libc_recvfrom(SB)
GLOBL ·sysRecvfrom(SB), RODATA, $SIZE
DATA ·sysRecvfrom(SB)/SIZE, $jump_recvfrom<>(SB)

TEXT jump_recvmsg<>(SB), NOSPLIT, $0-0
	JMP	libc_recvmsg(SB)
GLOBL ·sysRecvmsg(SB), RODATA, $SIZE
DATA ·sysRecvmsg(SB)/SIZE, $jump_recvmsg<>(SB)

TEXT jump_sendto<>(SB), NOSPLIT, $0-0
	JMP	libc_sendto(SB)
GLOBL ·sysSendto(SB), RODATA, $SIZE
DATA ·sysSendto(SB)/SIZE, $jump_sendto<>(SB)

TEXT jump_sendmsg<>(SB), NOSPLIT, $0-0
	JMP	libc_sendmsg(SB)
GLOBL ·sysSendmsg(SB), RODATA, $SIZE
DATA ·sysSendmsg(SB)/SIZE, $jump_sendmsg<>(SB)

TEXT jump_connect<>(SB), NOSPLIT, $0-0
	JMP	libc_connect(SB)
GLOBL ·sysConnect(SB), RODATA, $SIZE
DATA ·sysConnect(SB)/SIZE, $jump_connect<>(SB)

TEXT jump_bind<>(SB), NOSPLIT, $0-0
	JMP	libc_bind(SB)
GLOBL ·sysBind(SB), RODATA, $SIZE
DATA ·sysBind(SB)/SIZE, $jump_bind<>(SB)

TEXT jump_getsockname<>(SB), NOSPLIT, $0-0
	JMP	libc_getsockname(SB)
GLOBL ·sysGetsockname(SB), RODATA, $SIZE
DATA ·sysGetsockname(SB)/SIZE, $jump_getsockname<>(SB)

TEXT jump_getpeername<>(SB), NOSPLIT, $0-0
	JMP	libc_getpeername(SB)
GLOBL ·sysGetpeername(SB), RODATA, $SIZE
DATA ·sysGetpeername(SB)/SIZE, $jump_getpeername<>(SB)

TEXT jump_accept<>(SB), NOSPLIT, $0-0
	JMP	libc_accept4(SB)
GLOBL ·sysAccept(SB), RODATA, $SIZE
DATA ·sysAccept(SB)/SIZE, $jump_accept<>(SB)

TEXT jump_kevent<>(SB), NOSPLIT, $0-0
	JMP	libc_kevent(SB)
GLOBL ·sysKevent(SB), RODATA, $SIZE
DATA ·sysKevent(SB)/SIZE, $jump_kevent<>(SB)
