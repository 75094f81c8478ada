package conformance

import (
	"errors"
	"testing"

	"github.com/pollux-io/pollux"
	"github.com/pollux-io/pollux/sock"
)

// Q9: misuse returns a typed error.
func (u *suite) q9() []test {
	return tests(
		test{"misuse", u.misuse},
		test{"a second queue refuses a source", u.secondQueue},
		test{"a regular file is not pollable", u.regularFile},
		test{"misuse changes nothing", u.misuseChangesNothing},
	)
}

func (u *suite) misuse(t *testing.T) {
	q := u.poll(t)
	reg := q.Registrator()
	a, _ := u.pair(t)
	registered, _ := u.pair(t)
	must(t, reg.Register(registered, 1, pollux.Readable, pollux.Edge))
	closed, _ := u.pair(t)
	closed.Close()
	for _, c := range []struct {
		what string
		err  error
		want error
	}{
		{"Register twice", reg.Register(registered, 2, pollux.Readable, pollux.Edge), pollux.ErrRegistered},
		{"Reregister the unregistered", reg.Reregister(a, 1, pollux.Readable, pollux.Edge), pollux.ErrNotRegistered},
		{"Deregister the unregistered", reg.Deregister(a), pollux.ErrNotRegistered},
		{"Register without interest", reg.Register(a, 1, 0, pollux.Edge), pollux.ErrNoInterest},
		{"Register with an unknown interest", reg.Register(a, 1, 0x80, pollux.Edge), pollux.ErrNoInterest},
		{"Register with an unknown trigger", reg.Register(a, 1, pollux.Readable, 0x80), pollux.ErrBadTrigger},
		{"Reregister without interest", reg.Reregister(registered, 1, 0, pollux.Edge), pollux.ErrNoInterest},
		{"Register a closed source", reg.Register(closed, 1, pollux.Readable, pollux.Edge), pollux.ErrSourceClosed},
		{"Reregister a closed source", reg.Reregister(closed, 1, pollux.Readable, pollux.Edge), pollux.ErrSourceClosed},
		{"Deregister a closed source", reg.Deregister(closed), pollux.ErrSourceClosed},
		{"Register nil", reg.Register(nil, 1, pollux.Readable, pollux.Edge), pollux.ErrSourceClosed},
		{"Register a nil pointer", reg.Register((*sock.UDPSocket)(nil), 1, pollux.Readable, pollux.Edge), pollux.ErrSourceClosed},
	} {
		if !errors.Is(c.err, c.want) {
			t.Errorf("%s: %v, want %v", c.what, c.err, c.want)
		}
		var op *pollux.OpError
		if !errors.As(c.err, &op) || op.Op == "" {
			t.Errorf("%s: %T, want an *OpError that names the operation", c.what, c.err)
		}
	}
}

func (u *suite) secondQueue(t *testing.T) {
	q, other := u.poll(t), u.poll(t)
	a, b := u.pair(t)
	must(t, q.Register(a, 1, pollux.Readable, pollux.Edge))
	reg := other.Registrator()
	for what, err := range map[string]error{
		"Register":   reg.Register(a, 1, pollux.Readable, pollux.Edge),
		"Reregister": reg.Reregister(a, 1, pollux.Readable, pollux.Edge),
		"Deregister": reg.Deregister(a),
	} {
		if !errors.Is(err, pollux.ErrOtherPoll) {
			t.Errorf("%s with another Poll: %v, want ErrOtherPoll", what, err)
		}
	}
	write(t, b, "x")
	next(t, q, "the first queue's event", readable(1))
	must(t, q.Deregister(a))
	must(t, reg.Register(a, 2, pollux.Readable, pollux.Edge))
	next(t, other, "what the second queue may have now", readable(2))
}

func (u *suite) regularFile(t *testing.T) {
	if u.RegularFile == nil {
		t.Skip("this system has only sockets, no regular files")
	}
	src, remove, err := u.RegularFile()
	must(t, err)
	defer remove()
	q := u.poll(t)
	if err := q.Register(src, 1, pollux.Readable, pollux.Edge); !errors.Is(err, pollux.ErrNotPollable) {
		t.Errorf("Register of a regular file: %v, want ErrNotPollable", err)
	}
	if n := q.Len(); n != 0 {
		t.Errorf("%d registrations after Register has failed, want 0", n)
	}
}

func (u *suite) misuseChangesNothing(t *testing.T) {
	q := u.poll(t)
	reg := q.Registrator()
	a, b := u.pair(t)
	must(t, reg.Register(a, 1, pollux.Readable, pollux.Edge))
	reg.Register(a, 2, pollux.Writable, pollux.Level)
	reg.Reregister(a, 3, 0, pollux.Level)
	write(t, b, "x")
	next(t, q, "the first registration", readable(1))
	u.quiet(t, q, "nothing else is registered")
}
