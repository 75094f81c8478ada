// The two functions of Go's runtime that call libc: the linker lets assembly refer to them.

#include "textflag.h"

TEXT ·libcCall6(SB), NOSPLIT, $0-88
	JMP	syscall·sysvicall6(SB)

TEXT ·libcRawCall6(SB), NOSPLIT, $0-88
	JMP	syscall·rawSysvicall6(SB)
