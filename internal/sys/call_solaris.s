// The two doors of Go's runtime to libc: the linker lets assembly through them.

#include "textflag.h"

TEXT ·libcCall6(SB), NOSPLIT, $0-88
	JMP	syscall·sysvicall6(SB)

TEXT ·libcRawCall6(SB), NOSPLIT, $0-88
	JMP	syscall·rawSysvicall6(SB)
