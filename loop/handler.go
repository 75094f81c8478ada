package loop

// A Handler is protocol code for one connection. State lives in the handler: a
// listener's accept function makes one for each connection.
//
// Data gets all bytes received and not yet consumed, and says how many it consumed;
// what is left comes back with what follows it, up to Config.MaxUnread. b is the loop's
// own memory, valid until Data returns. An error closes the connection with it as the reason, after
// what has been written is flushed.
//
// A callback that has called Pause, Close, Detach or SetHandler is to return: they take
// effect then.
//
// The optional interfaces below are looked for once for each handler.
type Handler interface {
	Data(c *Conn, b []byte) (consumed int, err error)
}

// OpenedHandler is called when the connection is open, before anything else.
type OpenedHandler interface{ Opened(c *Conn) }

// ReadClosedHandler is called when the peer has sent all it will and Data has had
// it all. Without it, the connection is closed then: flushed and ended.
type ReadClosedHandler interface{ ReadClosed(c *Conn) }

// DrainedHandler is called when what waits to be sent has fallen to the low
// watermark, after it was above the high one.
type DrainedHandler interface{ Drained(c *Conn) }

// ClosedHandler is called last, once. why is nil after Close, io.EOF after the
// peer's end, and otherwise what went wrong: a *net.OpError, ErrTimeout, ErrLingerTimeout,
// ErrUnreadFull, ErrAborted, ErrShutdown, ErrDetached, *PanicError, the error that Data
// returned. After Data's error and ErrUnreadFull, what is left is still sent; if that fails,
// why wraps both errors, so ask with errors.Is.
type ClosedHandler interface{ Closed(c *Conn, why error) }

// ShutdownHandler is called when the group begins to shut down: a protocol that
// knows when it is idle closes the connection then, or soon.
type ShutdownHandler interface{ Shutdown(c *Conn) }
