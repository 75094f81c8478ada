package serve

import (
	"fmt"
	"net"
	"os"

	"github.com/pollux-io/pollux/netconn"
	"github.com/pollux-io/pollux/sock"
)

// Inherited is a socket that was open when the program began: systemd's socket
// activation (sd_listen_fds(3)).
type Inherited struct {
	*os.File
	name string // of LISTEN_FDNAMES
}

func (i Inherited) String() string {
	if i.name == "" {
		return "the inherited " + i.File.Name()
	}
	return fmt.Sprintf("the inherited %s, %q", i.File.Name(), i.name)
}

// serve serves a duplicate of the socket, and returns its address.
func (i Inherited) serve(s *Server) (string, error) {
	at, err := i.serveAny(s)
	if err == nil && i.name != "" {
		at += " (" + i.name + ")"
	}
	return at, err
}

// serveAny uses package net to determine the kind of the socket.
func (i Inherited) serveAny(s *Server) (string, error) {
	if l, err := net.FileListener(i.File); err == nil {
		defer l.Close() // the group has a duplicate
		if !listens(i.File) {
			return "", fmt.Errorf("it does not listen; the systemd unit must have Accept=no, and ListenStream= or, for UDP, ListenDatagram=")
		}
		return serveListener(s, l)
	}
	p, err := net.FilePacketConn(i.File)
	if err != nil {
		return "", fmt.Errorf("not a TCP, UDP or Unix stream socket: %w", err)
	}
	defer p.Close()
	if s.web != nil || s.tls != nil {
		return "", fmt.Errorf("a datagram socket; http and TLS need ListenStream= in the systemd unit")
	}
	c, ok := p.(*net.UDPConn)
	if !ok {
		return "", fmt.Errorf("a socket of network %s, not a TCP, UDP or Unix stream socket", p.LocalAddr().Network())
	}
	u, err := sock.FromUDPConn(c)
	if err != nil {
		return "", err
	}
	pl, err := s.group.ServePacket(u, s.packetHandler)
	if err != nil {
		return "", err
	}
	return url(pl.Addr()), nil
}

func serveListener(s *Server, l net.Listener) (string, error) {
	switch l := l.(type) {
	case *net.TCPListener:
		t, err := sock.FromTCPListener(l)
		if err != nil {
			return "", err
		}
		if s.web != nil {
			return s.web.serve(netconn.Serve(s.group, t))
		}
		ln, err := s.group.Serve(t, s.handler)
		if err != nil {
			return "", err
		}
		return s.url(ln.Addr()), nil
	case *net.UnixListener:
		u, err := sock.FromUnixListener(l)
		if err != nil {
			return "", err
		}
		if s.web != nil {
			return s.web.serve(netconn.ServeUnix(s.group, u))
		}
		ln, err := s.group.ServeUnix(u, s.handler)
		if err != nil {
			return "", err
		}
		return url(ln.Addr()), nil
	}
	return "", fmt.Errorf("a listener of network %s, not a TCP or Unix stream listener", l.Addr().Network())
}
