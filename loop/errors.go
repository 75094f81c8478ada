package loop

import (
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
)

var (
	// ErrClosed: the connection, listener or group is closed, or being closed.
	ErrClosed = net.ErrClosed
	// ErrBufferFull: Write would take what is unsent past MaxUnsent. Nothing was taken.
	// Drained comes when there is room again; or close a peer that does not read. A write
	// of more than MaxUnsent less LowWatermark bytes may be refused then as well, until
	// nothing is unsent: Drained comes again. One that can never be taken is ErrTooLarge.
	ErrBufferFull = errors.New("too much waits to be sent; the peer does not read fast enough")
	// ErrTooLarge: one Write, Writev or WriteOwned has more bytes than MaxUnsent, so it can
	// never be taken, and Drained does not come for it. Nothing was taken: write it in pieces,
	// or raise MaxUnsent. It wraps ErrBufferFull.
	ErrTooLarge = fmt.Errorf("one write has more bytes than MaxUnsent and can never be taken; write it in pieces, or raise MaxUnsent: %w", ErrBufferFull)
	// ErrUnreadFull is why a connection was closed whose handler left MaxUnread bytes
	// unconsumed and had not paused: what it waits for could never come.
	ErrUnreadFull = errors.New("a message is longer than MaxUnread; raise it, or let the handler refuse such messages")
	// ErrTimeout is why a connection was closed at its idle timeout or read deadline.
	ErrTimeout error = timeoutError{}
	// ErrWriteTimeout is why a connection was closed whose peer took nothing of what was unsent
	// for the write timeout. As a net.Error it is a timeout, as ErrTimeout is; both are
	// os.ErrDeadlineExceeded to errors.Is.
	ErrWriteTimeout error = writeTimeoutError{}
	// ErrLingerTimeout is why a connection was reset that was being closed, by Close or
	// because the peer had ended its side, and for LingerTimeout took nothing more of what
	// was left to send, or not all of it in MaxLinger.
	ErrLingerTimeout = errors.New("the peer took nothing more of what was left to send for LingerTimeout, or not all of it in MaxLinger")
	// ErrAborted is why a connection was closed by Abort.
	ErrAborted = errors.New("aborted by this side")
	// ErrDetached is why a connection ended that was detached.
	ErrDetached = errors.New("detached from its loop")
	// ErrShutdown is why a connection was closed that was still open when the
	// context of Shutdown ended.
	ErrShutdown = errors.New("the group has shut down")
	// ErrOffloadFull: as much work waits for Offload's pool as may.
	ErrOffloadFull = errors.New("too much work waits for the offload pool; raise OffloadWorkers or OffloadQueue, or send less")
	// ErrQueueFull: as many functions wait for the loop as Config.MaxQueued allows.
	ErrQueueFull = errors.New("too many functions wait for the loop; raise MaxQueued, or wait for some before sending more")
	// ErrTooManyConns: the group has MaxConns connections, so it dials no more.
	ErrTooManyConns = errors.New("the group has as many connections as MaxConns allows; raise it, or close some")
	// ErrBadConfig: a field of Config, or an argument, is out of its range.
	ErrBadConfig = errors.New("bad configuration or argument")
	// ErrOnLoop: the call waits for the group's loops, so it cannot be made on one of them,
	// in a callback. Start a goroutine for it; for Group.Dial and Loop.Watch there are Loop.Dial
	// and Loop.WatchLater, which call back.
	ErrOnLoop = errors.New("it would wait for the loop that it is called on; start a goroutine for it")

	errGroupEnded = fmt.Errorf("%w (%w)", ErrShutdown, ErrClosed)
	errGoexit     = errors.New("the goroutine was ended (runtime.Goexit, as by FailNow of package testing)")
	errNoHandler  = errors.New("the function that was to return a handler returned nil, or panicked")
)

// ShutdownError is what Shutdown returns if its context ended before everything did.
type ShutdownError struct {
	// Conns is how many connections were cut off.
	Conns int
	// Loops is how many loops are in a callback that has not returned, and Offloaded how many
	// functions of Offload have not: they are left behind. Nothing can end them.
	Loops, Offloaded int
	// Err is the context's error, or its cause.
	Err error
}

// Error implements error.
func (e *ShutdownError) Error() string {
	var what []string
	for _, x := range []struct {
		n         int
		one, more string
	}{
		{e.Conns, "1 connection was cut off that had not finished", "%d connections were cut off that had not finished"},
		{e.Loops, "1 loop is in a callback that does not return", "%d loops are in callbacks that do not return"},
		{e.Offloaded, "1 function of Offload does not return", "%d functions of Offload do not return"},
	} {
		switch {
		case x.n == 1:
			what = append(what, x.one)
		case x.n > 1:
			what = append(what, fmt.Sprintf(x.more, x.n))
		}
	}
	return fmt.Sprintf("loop: shutdown: %s: %v", strings.Join(what, ", "), e.Err)
}

// Unwrap returns the context's error.
func (e *ShutdownError) Unwrap() error { return e.Err }

type timeoutError struct{}

func (timeoutError) Error() string   { return "the idle timeout or read deadline has passed" }
func (timeoutError) Timeout() bool   { return true }
func (timeoutError) Temporary() bool { return false }

func (timeoutError) Is(target error) bool { return target == os.ErrDeadlineExceeded }

type writeTimeoutError struct{ timeoutError }

func (writeTimeoutError) Error() string {
	return "the peer took nothing of what was unsent for the write timeout"
}

// PanicError is why a connection was closed whose handler panicked.
type PanicError struct {
	Value any
	Stack []byte
}

// Error implements error.
func (e *PanicError) Error() string { return fmt.Sprintf("handler panicked: %v", e.Value) }

// needs is the error of an argument that is nil.
func errNil(what string) error { return fmt.Errorf("%w: %s is needed, not nil", ErrBadConfig, what) }
