package driver

// A Layer changes the bytes of one stream on their way between the loop and the driver below, as
// TLS does.
//
// To the loop it is the stream's driver. To the driver it is the stream's upcalls: once it has connected it is
// Stream.Up, and before that Stream.Up passes them on to it. It calls Above.Up where the driver would have. What
// the contract of Driver says of a stream holds on both sides of a Layer, with these differences:
//
//   - Start begins the layer, for example its handshake. It takes the place of Connect, on a stream
//     that is connected, attached, has no Send in flight, and is not receiving. Connected follows
//     once, with nil or the error that ends the connection. Until then the loop calls only Release.
//   - A Layer makes upcalls inside those of the driver, and inside functions that Above.Run has
//     called, as its work may be done elsewhere; never inside a call of the loop.
//   - The numbers of Send and Sent count bytes of the loop, and only those whose changed form the
//     driver has taken completely. SyncSend returns true.
//   - The loop calls CloseWrite in place of stream.CloseWrite, when all that it has sent was taken.
//   - ReceiveEnded reports io.EOF only if the peer has ended the inner stream, not the outer one
//     alone.
//   - A Layer has no Detach.
//   - The memory that it keeps is bounded in each direction, and an idle stream holds no buffers.
type Layer interface {
	StreamDriver
	StreamUpcalls
	// Start begins, with bytes that were received before, which are valid until it returns.
	Start(received []byte)
	// CloseWrite ends the stream that the loop sends, and then the driver's. If it returns false
	// and no error, the end is in flight, and Sent(0, err) follows once.
	CloseWrite(s *Stream) (done bool, err error)
}

// Above is what a Layer gets from the loop.
type Above struct {
	Stream *Stream
	Driver StreamDriver  // below
	Up     StreamUpcalls // the loop's
	// Run has the loop call f soon, outside of upcalls and callbacks. Any goroutine may call it.
	// It returns false, and f is not called, if the loop has ended. Its caller keeps it bounded:
	// each Layer has one function in the queue at a time.
	Run func(f func()) bool
}
