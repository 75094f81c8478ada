package sys

import "golang.org/x/sys/windows"

// Calls that golang.org/x/sys lacks, or has in a form that allocates or hides the
// address. They are loaded only from system32, never from the program's directory.
var (
	ws2_32   = windows.NewLazySystemDLL("ws2_32.dll")
	kernel32 = windows.NewLazySystemDLL("kernel32.dll")
	ntdll    = windows.NewLazySystemDLL("ntdll.dll")

	procAccept      = ws2_32.NewProc("accept")
	procBind        = ws2_32.NewProc("bind")
	procClosesocket = ws2_32.NewProc("closesocket")
	procConnect     = ws2_32.NewProc("connect")
	procGetpeername = ws2_32.NewProc("getpeername")
	procGetsockname = ws2_32.NewProc("getsockname")
	procGetsockopt  = ws2_32.NewProc("getsockopt")
	procIoctlsocket = ws2_32.NewProc("ioctlsocket")
	procListen      = ws2_32.NewProc("listen")
	procRecv        = ws2_32.NewProc("recv")
	procRecvfrom    = ws2_32.NewProc("recvfrom")
	procSend        = ws2_32.NewProc("send")
	procSendto      = ws2_32.NewProc("sendto")
	procSetsockopt  = ws2_32.NewProc("setsockopt")
	procShutdown    = ws2_32.NewProc("shutdown")
	procWSAIoctl    = ws2_32.NewProc("WSAIoctl")
	procWSARecv     = ws2_32.NewProc("WSARecv")
	procWSASend     = ws2_32.NewProc("WSASend")

	procGetAddrInfoExW      = ws2_32.NewProc("GetAddrInfoExW")
	procGetAddrInfoExCancel = ws2_32.NewProc("GetAddrInfoExCancel")
	procFreeAddrInfoExW     = ws2_32.NewProc("FreeAddrInfoExW")

	procWSAGetOverlappedResult = ws2_32.NewProc("WSAGetOverlappedResult")

	procCancelIoEx                  = kernel32.NewProc("CancelIoEx")
	procGetQueuedCompletionStatusEx = kernel32.NewProc("GetQueuedCompletionStatusEx")
	procPostQueuedCompletionStatus  = kernel32.NewProc("PostQueuedCompletionStatus")

	procNtDeviceIoControlFile = ntdll.NewProc("NtDeviceIoControlFile")
	procNtCancelIoFileEx      = ntdll.NewProc("NtCancelIoFileEx")
	procNtQueryObject         = ntdll.NewProc("NtQueryObject")
)
