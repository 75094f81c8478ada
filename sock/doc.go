// Package sock has sockets, pipes and foreign descriptors that never block, made
// from scratch for a pollux.Poll to watch.
//
// They are non-blocking and close-on-exec from birth. Read, Write and their kin
// return ErrWouldBlock where the kernel says so, io.EOF for the peer's FIN, and a
// *net.OpError for the rest. Connecting returns at once; ConnectError tells how it
// ended. Methods may be called from any goroutine; Close lets the calls that are
// running finish before it gives the descriptor back.
package sock
