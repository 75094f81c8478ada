package simnet

// A Watcher gets to know what happens to a socket.
type Watcher interface {
	// Changed is called with the network's lock held when a socket may have become ready: there are
	// more bytes, datagrams or connections to take, space to write into, or its peer has closed or
	// reset it. It must not call methods of this package except those ending in Locked.
	Changed(s *Socket)
}

// State is what a socket is ready for.
type State uint8

const (
	Readable   State = 1 << iota // a receive, or an accept, would not block
	Writable                     // a send would not block, or connecting has ended
	ReadClosed                   // the peer has sent FIN, or the connection has failed
	Failed                       // the connection has failed in both directions
)
