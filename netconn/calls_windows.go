package netconn

// The calls that errors name, as those of package net do: net/http compares them, for HTTP/2.
const (
	readCall  = "wsarecv"
	writeCall = "wsasend"
)

// resetOnce reports whether the system reports a reset to one call only.
const resetOnce = false
