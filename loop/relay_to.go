package loop

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"

	"github.com/pollux-io/pollux/internal/hostport"
	"github.com/pollux-io/pollux/internal/stream"
	"github.com/pollux-io/pollux/sock"
)

// RelayTo returns a handler that relays its connection, the client, to a server: it dials the
// server on the client's loop, as Loop.Dial does, and then calls Relay. Until the server is
// connected, the client is not read. If the client is gone before that, the dial is canceled, and
// what the client has sent is dropped. If the server cannot be dialed, the client is closed as by
// CloseWith, with the error. OnEnd is called in each case.
//
// The handler may be returned for any number of connections: a proxy needs one for each server. It
// may also be given to Conn.SetHandler, such as by a handler that has read a first message: what it
// has left unconsumed is sent to the server.
//
// options are those of Loop.Dial, for the connections to the server, such as sock.LocalAddr,
// sock.KeepAlive and sock.WriteBuffer.
//
// The error is a *net.OpError: ErrBadArgument if network or address is invalid, a field of config is
// negative, or an option is out of range or does not apply, and errors.ErrUnsupported if the system
// does not have an option. An option that the system refuses is an error of the dial.
func RelayTo(network, address string, config RelayConfig, options ...sock.Option) (Handler, error) {
	err := config.validate()
	if err == nil {
		err = checkDial(network, address, options)
	}
	if err != nil {
		return nil, &net.OpError{Op: "relay", Net: network, Err: fmt.Errorf("to %q: %w", address, err)}
	}
	return &relayTo{network: network, address: address, config: config, options: slices.Clone(options)}, nil
}

// checkDial returns an error if Loop.Dial would refuse the arguments.
func checkDial(network, address string, options []sock.Option) error {
	var s sock.Stream
	stream.CheckOnly(&s)
	if network == "unix" {
		return causeOf(sock.ConnectUnixInto(&s, address, options...))
	}
	at, err := hostport.ParseStream(network, address)
	if err != nil {
		return err
	}
	return causeOf(sock.ConnectTCPInto(&s, at, options...))
}

// relayTo is the handler of clients whose server is being dialed.
type relayTo struct {
	network, address string
	config           RelayConfig
	options          []sock.Option
}

var (
	_ Handler           = (*relayTo)(nil)
	_ ReadClosedHandler = (*relayTo)(nil)
	_ ClosedHandler     = (*relayTo)(nil)
	_ installer         = (*relayTo)(nil)
)

// handlerInstalled implements installer. There is no Opened besides: a handler that gives its connection to another one calls
// that one's Opened after SetHandler, as tlsconn.Peek does.
func (t *relayTo) handlerInstalled(client *Conn) { t.dial(client) }

// Data implements Handler: the client is paused, so at most the program's own Resume leads here.
func (t *relayTo) Data(client *Conn, _ []byte) (int, error) { return 0, client.Pause() }

// ReadClosed implements ReadClosedHandler: Relay passes it on.
func (t *relayTo) ReadClosed(*Conn) {}

// Closed implements ClosedHandler.
func (t *relayTo) Closed(client *Conn, why error) {
	if t.config.OnEnd == nil {
		return
	}
	end := RelayEnd{A: client}
	var failed *relayDialError
	switch {
	case errors.As(why, &failed):
		end.Err = failed.error
	case why == nil:
		end.From, end.Err = client, client.opError("relay", ErrClosed)
	default:
		end.From, end.Err = client, client.opError("relay", why)
	}
	t.config.OnEnd(end)
}

// relayDialError distinguishes a failed dial from other reasons of the client's end.
type relayDialError struct{ error }

func (e *relayDialError) Unwrap() error { return e.error }

func (t *relayTo) dial(client *Conn) {
	if client.Pause() != nil {
		return // it is being closed
	}
	if t.config.OnEnd != nil {
		client.keepRemoteAddr()
	}
	ctx, cancel := client.Context(), context.CancelFunc(func() {})
	if t.config.DialTimeout > 0 {
		ctx, cancel = context.WithTimeout(ctx, t.config.DialTimeout)
	}
	accept := func(server *Conn) Handler {
		if err := Relay(client, server, t.config); err != nil {
			server.AbortWith(err) // the client has been closed
		}
		return unrelayed{}
	}
	done := func(_ *Conn, err error) {
		cancel()
		switch {
		case err == nil:
		case client.Context().Err() != nil: // the client is gone, which is its own reason
			client.Close()
		default:
			client.CloseWith(&relayDialError{err})
		}
	}
	if err := client.loop.Dial(ctx, t.network, t.address, accept, done, t.options...); err != nil {
		done(nil, err)
	}
}

// unrelayed is the handler of a server's connection until Relay has taken effect.
type unrelayed struct{}

// Data implements Handler.
func (unrelayed) Data(*Conn, []byte) (int, error) { return 0, nil }
