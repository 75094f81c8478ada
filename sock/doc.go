// Package sock has sockets, pipes and foreign descriptors that never block, made
// from scratch for a pollux.Poll to watch.
//
// They are non-blocking and close-on-exec from the start. Read, Write and the like
// return ErrWouldBlock where the kernel would make them wait, io.EOF at the peer's FIN, and
// a *net.OpError for other errors. That holds also if a duplicate of the descriptor, such as
// one that was handed to a child process, has been switched to blocking: no call waits. (On
// Windows nothing but ioctlsocket does that to a socket; calls then wait.) Connecting
// returns at once; ConnectError returns how it ended, and a TCP stream that was connected
// with itself is refused. Methods may be called from any goroutine; the last of the calls
// in progress closes the descriptor after Close.
package sock
