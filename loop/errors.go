package loop

import (
	"errors"
	"fmt"
	"net"
	"os"
	"strings"

	"github.com/pollux-io/pollux/internal/misuse"
)

var (
	// ErrClosed is the error for a connection, listener or group that is closed, or being closed.
	ErrClosed = net.ErrClosed
	// ErrBufferFull reports that a write would make more than Config.MaxUnsentBytes unsent. Nothing
	// was taken. Drained is called when there is space again; or close a peer that does not read. A
	// write of more than MaxUnsentBytes less the low watermark may be refused then as well, until
	// nothing is unsent: Drained is called again. A write that can never be taken is ErrTooLarge.
	ErrBufferFull = errors.New("too many unsent bytes; the peer does not read fast enough")
	// ErrTooLarge reports that one Write, Writev, WriteOwned or WriteShared has more bytes than
	// MaxUnsentBytes, so it can never be taken, and Drained is not called for it. Nothing was
	// taken: split it, or raise MaxUnsentBytes. It wraps ErrBufferFull.
	ErrTooLarge = fmt.Errorf("one write has more bytes than MaxUnsentBytes and can never be taken; split it, or raise MaxUnsentBytes: %w", ErrBufferFull)
	// ErrUnreadFull is the reason of a connection whose handler left Config.MaxUnreadBytes
	// unconsumed and had not paused: the rest of the message could never be received.
	ErrUnreadFull = errors.New("a message is longer than MaxUnreadBytes; raise it, or have the handler refuse such messages")
	// ErrTimeout is the reason of a connection that was closed at its idle timeout or read
	// deadline, and of a relay that has ended at its idle timeout.
	ErrTimeout error = timeoutError{}
	// ErrWriteTimeout is the reason of a connection whose peer took no unsent bytes for the write
	// timeout. Like ErrTimeout it is a net.Error that is a timeout; errors.Is
	// reports both as os.ErrDeadlineExceeded.
	ErrWriteTimeout error = writeTimeoutError{}
	// ErrLingerTimeout is the reason of a connection that was being closed, by Close or because the
	// peer had closed its side, and was reset: the peer took no unsent bytes for
	// Config.LingerTimeout, or not all of them within Config.MaxLinger.
	ErrLingerTimeout = errors.New("while closing, the peer took no unsent bytes for LingerTimeout, or not all of them within MaxLinger")
	// ErrAborted is the reason of a connection that was closed by Abort.
	ErrAborted = errors.New("aborted by this side")
	// ErrDetached is the reason of a connection that was taken away from its loop by Detach.
	ErrDetached = errors.New("detached from its loop")
	// ErrShutdown is the reason of a connection that was still open when the context of Shutdown
	// ended, and the error of a dial that was in progress when Shutdown was called.
	ErrShutdown = errors.New("the group has shut down")
	// ErrOffloadFull reports that Config.OffloadQueue functions are queued for Offload's pool.
	ErrOffloadFull = errors.New("the queue of the offload pool is full; raise OffloadWorkers or OffloadQueue, or submit less")
	// ErrQueueFull reports that Config.MaxQueuedFuncs functions are queued for a loop, or that a
	// Fanout has FanoutConfig.MaxPendingMessages or MaxPendingBytes pending.
	ErrQueueFull = errors.New("the queue of functions for the loop is full; raise MaxQueuedFuncs, or submit more only when some have run")
	// ErrTooManyConns reports that the group has Config.MaxConns connections, so it neither dials
	// nor attaches another.
	ErrTooManyConns = errors.New("the group has as many connections as MaxConns allows; raise it, or close some")
	// ErrNotOpen reports a write to a connection that has got a handler with a layer, such as TLS, whose
	// handshake has not ended: nothing was taken. Write in Opened, or later.
	ErrNotOpen = errors.New("the handshake of the connection has not ended; write in Opened, or later")
	// ErrBadArgument reports that an argument, or a field of one, is invalid. It is
	// pollux.ErrBadArgument, and matches syscall.EINVAL with errors.Is.
	ErrBadArgument = misuse.ErrBadArgument
	// ErrOnLoop reports that the call waits for the group's loops, so it must not be made in a
	// callback, on one of them. Start a goroutine for it; instead of Group.Dial and Loop.Watch use
	// Loop.Dial and Loop.WatchLater, which call back.
	ErrOnLoop = errors.New("the call would wait for the loop that it is made on; make it in another goroutine")

	errGroupEnded = fmt.Errorf("%w (%w)", ErrShutdown, ErrClosed)
	errGoexit     = errors.New("the goroutine was ended (runtime.Goexit, as by FailNow of package testing)")
	errNoHandler  = errors.New("the function that must return a handler returned nil, or panicked")
)

// ShutdownError is returned by Shutdown if its context ended before everything had finished.
type ShutdownError struct {
	// Conns is how many connections were cut off.
	Conns int
	// Loops is how many loops are in a callback that has not returned, and Offloaded how many
	// functions of Offload have not returned: they are left running, as nothing can stop them.
	Loops, Offloaded int
	// Err is the cause of the context's end.
	Err error
}

// Error implements error.
func (e *ShutdownError) Error() string {
	var what []string
	for _, x := range []struct {
		n         int
		one, more string
	}{
		{e.Conns, "1 connection had not finished and was cut off", "%d connections had not finished and were cut off"},
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
	return "the peer took no unsent bytes for the write timeout"
}

// A PanicError is the reason of a connection that was closed because its handler panicked, and
// the error that the second half of an Offload gets if the first has panicked. If a function has
// ended its goroutine (runtime.Goexit), Value is an error that reports that.
type PanicError struct {
	Value any
	Stack []byte
}

// Error implements error.
func (e *PanicError) Error() string { return fmt.Sprintf("panic: %v", e.Value) }

// errNoHandlerFunc returns the error for a nil function that must return a handler.
func errNoHandlerFunc() error { return errNil("a function that returns the handler") }

// errNil returns the error for a nil argument.
func errNil(what string) error { return fmt.Errorf("%w: %s is needed, not nil", ErrBadArgument, what) }
