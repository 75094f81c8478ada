package sock

import (
	"fmt"

	"github.com/pollux-io/pollux/internal/handle"
	"github.com/pollux-io/pollux/internal/stream"
	"github.com/pollux-io/pollux/internal/sys"
)

// A socketOption is an integer option of setsockopt(2).
type socketOption struct {
	name                 string
	level, number, value int
}

func (o socketOption) set(fd sys.FD) error {
	if e := sys.SetInt(fd, o.level, o.number, o.value); e != 0 {
		return fmt.Errorf("%s=%d: %w", o.name, o.value, sys.CallError("setsockopt", e))
	}
	return nil
}

// apply sets the options that must be set before bind and connect. accepting is nil unless the
// socket will listen.
func (s *settings) apply(fd sys.FD, family int, kind handle.Kind, accepting *stream.Accepting) error {
	var todo []socketOption
	reuseAddr := s.reuseAddr == enabled || s.reuseAddr == unset && kind == handle.TCPListener
	if reuseAddr && sys.ReuseAddrIsSafe {
		todo = append(todo, socketOption{"SO_REUSEADDR", sys.SOL_SOCKET, sys.SO_REUSEADDR, 1})
	}
	if s.reusePort == enabled {
		todo = append(todo, socketOption{"SO_REUSEPORT", sys.SOL_SOCKET, sys.SO_REUSEPORT, 1})
	}
	if family == sys.AF_INET6 {
		todo = append(todo, socketOption{"IPV6_V6ONLY", sys.IPPROTO_IPV6, sys.IPV6_V6ONLY, toInt(s.v6only == enabled)})
	}
	for _, o := range todo {
		if err := o.set(fd); err != nil {
			return err
		}
	}
	if s.noDelay == unset {
		applyDefaultNoDelay(fd, kind, accepting)
	}
	if err := s.applyOpen(fd, kind, accepting); err != nil {
		return err
	}
	if len(s.controls) == 0 {
		return nil
	}
	for _, control := range s.controls {
		if err := control(uintptr(fd)); err != nil {
			return err
		}
	}
	// A control may have passed a duplicate to a child, which makes the socket blocking:
	// connect would block.
	if e := sys.SetNonblock(fd); e != 0 {
		return sys.CallError("fcntl", e)
	}
	return nil
}

// applyOpen sets the options that can also be set on an open socket. accepting is nil unless the
// socket is a listener.
func (s *settings) applyOpen(fd sys.FD, kind handle.Kind, accepting *stream.Accepting) error {
	var todo []socketOption
	if s.readBuffer > 0 {
		todo = append(todo, socketOption{"SO_RCVBUF", sys.SOL_SOCKET, sys.SO_RCVBUF, s.readBuffer})
	}
	if s.writeBuffer > 0 {
		todo = append(todo, socketOption{"SO_SNDBUF", sys.SOL_SOCKET, sys.SO_SNDBUF, s.writeBuffer})
	}
	if s.noDelay != unset {
		todo = append(todo, socketOption{"TCP_NODELAY", sys.IPPROTO_TCP, sys.TCP_NODELAY, toInt(s.noDelay == enabled)})
	}
	if s.userTimeout != nil {
		ms, _ := userTimeout(*s.userTimeout) // validated by the option
		todo = append(todo, socketOption{"TCP_USER_TIMEOUT", sys.IPPROTO_TCP, sys.TCP_USER_TIMEOUT, ms})
	}
	for _, o := range todo {
		if err := o.set(fd); err != nil {
			return err
		}
	}
	if s.keepAlive != nil {
		if err := stream.SetKeepAlive(fd, *s.keepAlive); err != nil {
			return fmt.Errorf("KeepAlive: %w", err)
		}
	}
	if accepting != nil {
		stream.UpdateOptions(accepting, func(o *stream.AcceptOptions) { s.passOn(o, kind) })
	}
	return nil
}

// passOn adds to o what connections do not inherit from their listener.
func (s *settings) passOn(o *stream.AcceptOptions, kind handle.Kind) {
	switch {
	case s.noDelay == unset:
	case sys.NoDelayIsInherited:
		o.NoDelay = stream.NoDelayInherited
	case s.noDelay == enabled:
		o.NoDelay = stream.NoDelayOn
	default:
		o.NoDelay = stream.NoDelayOff
	}
	if s.keepAlive != nil && !stream.KeepAliveIsInherited {
		o.KeepAlive = s.keepAlive
	}
	if kind == handle.UnixListener || !sys.BuffersAreInherited {
		if s.readBuffer > 0 {
			o.ReadBuffer = s.readBuffer
		}
		if s.writeBuffer > 0 {
			o.WriteBuffer = s.writeBuffer
		}
	}
}

// applyDefaultNoDelay disables Nagle's algorithm on a TCP socket. Failing to is not an error.
func applyDefaultNoDelay(fd sys.FD, kind handle.Kind, accepting *stream.Accepting) {
	switch kind {
	case handle.TCPStream:
		sys.SetInt(fd, sys.IPPROTO_TCP, sys.TCP_NODELAY, 1)
	case handle.TCPListener:
		if !sys.NoDelayIsInherited || sys.SetInt(fd, sys.IPPROTO_TCP, sys.TCP_NODELAY, 1) != 0 {
			stream.UpdateOptions(accepting, func(o *stream.AcceptOptions) { o.NoDelay = stream.NoDelayOn })
		}
	}
}

// SetOptions sets options of an open stream: ReadBuffer, WriteBuffer and, for TCP, NoDelay, KeepAlive
// and UserTimeout. The error is a *net.OpError with ErrBadArgument, for any other option too;
// errors.ErrUnsupported; ErrClosed; or the system's error. Only after the system's error some of the
// options may have been set.
func (s *Stream) SetOptions(options ...Option) error {
	return s.setOptions(nil, options)
}

// SetOptions sets options of the connections that arrive from now on: ReadBuffer, WriteBuffer,
// NoDelay, KeepAlive and UserTimeout. Connections that are in the queue already may have the old or
// the new values. The errors are those of Stream.SetOptions.
func (l *TCPListener) SetOptions(options ...Option) error {
	return l.setOptions(&l.accepting, options)
}

// SetOptions sets ReadBuffer and WriteBuffer of the connections that are accepted from now on. The
// errors are those of Stream.SetOptions.
func (l *UnixListener) SetOptions(options ...Option) error {
	return l.setOptions(&l.accepting, options)
}

// SetOptions sets ReadBuffer and WriteBuffer of the open socket. The errors are those of
// Stream.SetOptions.
func (u *UDPSocket) SetOptions(options ...Option) error {
	return u.setOptions(nil, options)
}

// SetOptions sets ReadBuffer and WriteBuffer of the open socket. The errors are those of
// Stream.SetOptions.
func (u *UnixDatagram) SetOptions(options ...Option) error {
	return u.setOptions(nil, options)
}

func (d *Descriptor) setOptions(accepting *stream.Accepting, options []Option) error {
	return d.withFD(setOptions, func(fd sys.FD) error {
		s := applyOptions(options)
		err := s.validate(setOptions, d.h().Kind())
		if err == nil {
			err = s.applyOpen(fd, d.h().Kind(), accepting)
		}
		if err != nil {
			return d.opError(setOptions, err)
		}
		return nil
	})
}
