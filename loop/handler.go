package loop

// A Handler is protocol code for one connection. State lives in the handler: a
// listener's accept function makes one for each connection.
//
// Data gets all bytes received and not yet consumed, and returns how many of them it
// consumed; what is left comes back with what follows it, up to Config.MaxUnread. b is the
// loop's own memory, valid until Data returns; Data may change it, but changes to what it
// leaves may be lost or stay. An error closes the connection as CloseWith does: what has been
// written is sent, then FIN, and a peer that does not end its side is waited for up to
// Config.LingerTimeout; after AbortWith it is not.
//
// If the peer resets the connection, or sending to it fails, Data still gets everything that
// was received before, in order, and then Closed comes; a handler that has paused gets it
// after Resume. Writes are refused meanwhile (ErrClosed, with the cause), and Conn.Context is
// cancelled.
//
// A callback that has called Pause, Close, Detach or SetHandler is to return: they take
// effect then.
//
// Which of the optional interfaces below a handler has is found out once, when it becomes the
// connection's.
type Handler interface {
	Data(c *Conn, b []byte) (consumed int, err error)
}

// OpenedHandler is called when the connection is open, before anything else. For one that was
// dialed the order is: the function given to Dial, which returns the handler; Opened; then
// Dial returns, or Loop.Dial's done is called. If the connection ends in one of the first two,
// done gets the error, and then Closed comes.
type OpenedHandler interface{ Opened(c *Conn) }

// ReadClosedHandler is called once, when the peer has sent all it will (FIN) and Data has been
// called with all of it. Without it, the connection is closed then: flushed and ended. What
// Data has left may come to Data once more afterwards, with nothing new behind it: after
// Resume, after SetHandler (the new handler gets it, and no ReadClosed of its own), or with
// Drained. ReadClosed is not called after the connection has failed: an end that follows a
// reset proves nothing.
type ReadClosedHandler interface{ ReadClosed(c *Conn) }

// DrainedHandler is called when the unsent bytes have fallen to the low watermark, after they
// were above the high one or a write was refused with ErrBufferFull. If sending fails
// meanwhile, they are dropped, and it is called as well: writes return the error from then on.
type DrainedHandler interface{ Drained(c *Conn) }

// ClosedHandler is called last, once. why is nil after Close, io.EOF after the
// peer's end, the error given to CloseWith or AbortWith, and otherwise what went wrong: a
// *net.OpError (ECONNRESET, EPIPE; ETIMEDOUT by keep-alive), ErrTimeout, ErrWriteTimeout,
// ErrLingerTimeout, ErrUnreadFull, ErrAborted, ErrShutdown, ErrDetached, *PanicError, the error
// that Data returned. After CloseWith, Data's error and ErrUnreadFull, what is left is still
// sent; if that fails, why wraps both errors. So it does if a connection that has failed is
// then ended for another reason. Ask with errors.Is.
type ClosedHandler interface{ Closed(c *Conn, why error) }

// ShutdownHandler is called when the group begins to shut down: a protocol that
// knows when it is idle closes the connection then, or soon.
type ShutdownHandler interface{ Shutdown(c *Conn) }
