package simnet

// A Host is a host of a network.
type Host struct {
	n *Network
}

// A Socket is an open socket of a Host. It implements sys.VirtualSocket.
type Socket struct {
	host *Host
}
