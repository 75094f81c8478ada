package loop

import (
	"errors"
	"fmt"
	"net"
)

var (
	// ErrClosed: the connection, listener or group is closed, or being closed.
	ErrClosed = net.ErrClosed
	// ErrBufferFull: Write would take what waits to be sent past MaxUnsent. Nothing
	// was taken. Wait for Drained, or close a peer that does not read.
	ErrBufferFull = errors.New("too much waits to be sent; the peer does not read fast enough")
	// ErrUnreadFull is why a connection was closed whose handler left MaxUnread bytes
	// unconsumed and had not paused: what it waits for could never come.
	ErrUnreadFull = errors.New("a message is longer than MaxUnread; raise it, or let the handler refuse such messages")
	// ErrTimeout is why a connection was closed at its idle or read deadline.
	ErrTimeout error = timeoutError{}
	// ErrLingerTimeout is why a connection was cut off that had not taken everything
	// LingerTimeout after Close.
	ErrLingerTimeout = errors.New("the peer did not take what was left to send within LingerTimeout of Close")
	// ErrAborted is why a connection was closed by Abort.
	ErrAborted = errors.New("aborted by this side")
	// ErrDetached is why a connection ended that was detached.
	ErrDetached = errors.New("detached from its loop")
	// ErrShutdown is why a connection was closed that was still open when the
	// context of Shutdown ended.
	ErrShutdown = errors.New("the group has shut down")
	// ErrOffloadFull: as much work waits for Offload's pool as may.
	ErrOffloadFull = errors.New("too much work waits for the offload pool; raise OffloadWorkers or OffloadQueue, or send less")
	// ErrBadConfig: a field of Config, or an argument, is out of its range.
	ErrBadConfig = errors.New("configuration is out of range")
)

// ShutdownError is what Shutdown returns if its context ended before the connections did.
type ShutdownError struct {
	// Conns is how many connections were cut off, one at least.
	Conns int
	// Err is the context's error, or its cause.
	Err error
}

// Error implements error.
func (e *ShutdownError) Error() string {
	if e.Conns == 1 {
		return fmt.Sprintf("loop: shutdown cut off 1 connection that had not finished: %v", e.Err)
	}
	return fmt.Sprintf("loop: shutdown cut off %d connections that had not finished: %v", e.Conns, e.Err)
}

// Unwrap returns the context's error.
func (e *ShutdownError) Unwrap() error { return e.Err }

type timeoutError struct{}

func (timeoutError) Error() string   { return "nothing was received in time" }
func (timeoutError) Timeout() bool   { return true }
func (timeoutError) Temporary() bool { return false }

// PanicError is why a connection was closed whose handler panicked.
type PanicError struct {
	Value any
	Stack []byte
}

// Error implements error.
func (e *PanicError) Error() string { return fmt.Sprintf("handler panicked: %v", e.Value) }
