package simnet

import (
	"fmt"
	"slices"

	"github.com/pollux-io/pollux/internal/sys"
)

// Unread returns how many bytes a Read returns without waiting; 0 if the connection is closed.
func (c *Conn) Unread() int {
	c.s.host.n.mu.Lock()
	defer c.s.host.n.mu.Unlock()
	if c.closed || c.s.closed {
		return 0
	}
	return c.s.protocol.unreadLocked()
}

// OpenSockets returns a line for each open socket of the host: its network and its addresses.
func (h *Host) OpenSockets() []string {
	h.n.mu.Lock()
	defer h.n.mu.Unlock()
	var all []string
	for s := range h.sockets {
		if !s.closed {
			all = append(all, s.describeLocked())
		}
	}
	slices.Sort(all)
	return all
}

// network returns the name of the socket's network, as package net has it.
func (s *Socket) network() string {
	switch {
	case s.family == sys.AF_UNIX:
		return "unix"
	case s.typ == sys.SOCK_DGRAM:
		return "udp"
	}
	return "tcp"
}

func (s *Socket) describeLocked() string {
	network := s.network()
	line := fmt.Sprintf("%s %v", network, s.netAddr(network, s.local))
	if remote := s.remoteLocked(); remote != (address{}) {
		line += fmt.Sprintf(" connected to %v", s.netAddr(network, remote))
	}
	return line
}
