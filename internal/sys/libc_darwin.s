// libc's functions, reached by a jump so that the linker makes each an import,
// and their addresses as call_libc.go uses them.

#include "textflag.h"

TEXT jump_read<>(SB), NOSPLIT, $0-0
	JMP	libc_read(SB)
GLOBL ·sysRead(SB), RODATA, $8
DATA ·sysRead(SB)/8, $jump_read<>(SB)

TEXT jump_write<>(SB), NOSPLIT, $0-0
	JMP	libc_write(SB)
GLOBL ·sysWrite(SB), RODATA, $8
DATA ·sysWrite(SB)/8, $jump_write<>(SB)

TEXT jump_recvfrom<>(SB), NOSPLIT, $0-0
	JMP	libc_recvfrom(SB)
GLOBL ·sysRecvfrom(SB), RODATA, $8
DATA ·sysRecvfrom(SB)/8, $jump_recvfrom<>(SB)

TEXT jump_recvmsg<>(SB), NOSPLIT, $0-0
	JMP	libc_recvmsg(SB)
GLOBL ·sysRecvmsg(SB), RODATA, $8
DATA ·sysRecvmsg(SB)/8, $jump_recvmsg<>(SB)

TEXT jump_sendto<>(SB), NOSPLIT, $0-0
	JMP	libc_sendto(SB)
GLOBL ·sysSendto(SB), RODATA, $8
DATA ·sysSendto(SB)/8, $jump_sendto<>(SB)

TEXT jump_sendmsg<>(SB), NOSPLIT, $0-0
	JMP	libc_sendmsg(SB)
GLOBL ·sysSendmsg(SB), RODATA, $8
DATA ·sysSendmsg(SB)/8, $jump_sendmsg<>(SB)

TEXT jump_connect<>(SB), NOSPLIT, $0-0
	JMP	libc_connect(SB)
GLOBL ·sysConnect(SB), RODATA, $8
DATA ·sysConnect(SB)/8, $jump_connect<>(SB)

TEXT jump_bind<>(SB), NOSPLIT, $0-0
	JMP	libc_bind(SB)
GLOBL ·sysBind(SB), RODATA, $8
DATA ·sysBind(SB)/8, $jump_bind<>(SB)

TEXT jump_getsockname<>(SB), NOSPLIT, $0-0
	JMP	libc_getsockname(SB)
GLOBL ·sysGetsockname(SB), RODATA, $8
DATA ·sysGetsockname(SB)/8, $jump_getsockname<>(SB)

TEXT jump_getpeername<>(SB), NOSPLIT, $0-0
	JMP	libc_getpeername(SB)
GLOBL ·sysGetpeername(SB), RODATA, $8
DATA ·sysGetpeername(SB)/8, $jump_getpeername<>(SB)

TEXT jump_accept<>(SB), NOSPLIT, $0-0
	JMP	libc_accept(SB)
GLOBL ·sysAccept(SB), RODATA, $8
DATA ·sysAccept(SB)/8, $jump_accept<>(SB)

TEXT jump_kevent<>(SB), NOSPLIT, $0-0
	JMP	libc_kevent(SB)
GLOBL ·sysKevent(SB), RODATA, $8
DATA ·sysKevent(SB)/8, $jump_kevent<>(SB)
