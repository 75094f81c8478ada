package stream

import (
	"net"
	"sync/atomic"
	"syscall"

	"github.com/pollux-io/pollux/internal/handle"
	"github.com/pollux-io/pollux/internal/sys"
)

// AcceptOptions is what must be set on each connection that a listener accepts, because the system
// does not pass it on from the listener. Package sock sets it on those that it accepts; a driver that
// accepts by an operation of its own calls Apply.
type AcceptOptions struct {
	NoDelay     NoDelay
	KeepAlive   *net.KeepAliveConfig // nil: as inherited
	ReadBuffer  int                  // SO_RCVBUF; 0: as inherited
	WriteBuffer int                  // SO_SNDBUF; 0: as inherited
}

// NoDelay is whether TCP_NODELAY, which disables Nagle's algorithm, must be set.
type NoDelay uint8

const (
	NoDelayInherited NoDelay = iota
	NoDelayOff
	NoDelayOn
)

// Apply sets the options on a connection; of a nil *AcceptOptions, none. An error means that the
// connection was reset, which reading reports, too, or that the system has taken the option on the
// listener and refuses it here: it is ignored.
func (o *AcceptOptions) Apply(fd sys.FD) {
	if o == nil {
		return
	}
	switch o.NoDelay {
	case NoDelayOff:
		sys.SetInt(fd, sys.IPPROTO_TCP, sys.TCP_NODELAY, 0)
	case NoDelayOn:
		sys.SetInt(fd, sys.IPPROTO_TCP, sys.TCP_NODELAY, 1)
	}
	if o.ReadBuffer > 0 {
		sys.SetInt(fd, sys.SOL_SOCKET, sys.SO_RCVBUF, o.ReadBuffer)
	}
	if o.WriteBuffer > 0 {
		sys.SetInt(fd, sys.SOL_SOCKET, sys.SO_SNDBUF, o.WriteBuffer)
	}
	if o.KeepAlive != nil {
		SetKeepAlive(fd, *o.KeepAlive)
	}
}

// Accepting holds a listener's AcceptOptions, to embed in an exported type: it has no exported fields
// or methods. Its functions may be called from any goroutine.
type Accepting struct {
	options atomic.Pointer[AcceptOptions] // immutable; nil if they are empty
}

func (a *Accepting) accepting() *Accepting { return a }

var _ interface{ accepting() *Accepting } = (*Accepting)(nil)

// Listener is a listening socket of package sock: it embeds a handle.Held and an Accepting.
type Listener interface {
	handle.Source
	accepting() *Accepting
}

// AcceptOptionsOf returns the options of a listener, or nil if there are none. They must not be
// changed.
func AcceptOptionsOf(l Listener) *AcceptOptions { return OptionsIn(l.accepting()) }

// OptionsIn is AcceptOptionsOf for the listener's owner.
func OptionsIn(a *Accepting) *AcceptOptions { return a.options.Load() }

// UpdateOptions changes the options by f, which may be called several times.
func UpdateOptions(a *Accepting, f func(*AcceptOptions)) {
	for {
		old := a.options.Load()
		o := AcceptOptions{}
		if old != nil {
			o = *old
		}
		f(&o)
		updated := &o
		if o == (AcceptOptions{}) {
			updated = nil
		}
		if a.options.CompareAndSwap(old, updated) {
			return
		}
	}
}

// Accept takes a connection off the queue of the listener h. It skips connections that were
// lost in the queue (accept(2)), at most as many as a backlog can hold.
func Accept(h *handle.Handle) (sys.FD, sys.Sockaddr, error) {
	fd, ok := h.Use()
	if !ok {
		return sys.InvalidFD, sys.Sockaddr{}, h.OpError("accept", net.ErrClosed)
	}
	defer h.Done()
	var from sys.Sockaddr
	var e syscall.Errno
	shared := h.Shared()
	for range sys.MaxBacklog {
		var conn sys.FD
		if shared {
			conn, e = sys.AcceptShared(fd, &from)
		} else {
			conn, e = sys.Accept(fd, &from)
		}
		if e == 0 {
			return conn, from, nil
		}
		if !sys.LostInBacklog(e) {
			break
		}
	}
	if sys.WouldBlock(e) {
		h.Rearm(readable)
		return sys.InvalidFD, from, ErrWouldBlock
	}
	return sys.InvalidFD, from, h.CallError("accept", "accept", e)
}

// StopListening ends listening on Linux. Other systems return ENOTCONN (shutdown(2)), and
// end listening when the descriptor is closed.
func StopListening(h *handle.Handle) error {
	return h.With("stop listening", func(fd sys.FD) error {
		if e := sys.Shutdown(fd, sys.SHUT_RDWR); e != 0 && e != syscall.ENOTCONN {
			return h.CallError("stop listening", "shutdown", e)
		}
		return nil
	})
}
