package pollux

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/pollux-io/pollux/internal/handle"
	"github.com/pollux-io/pollux/internal/queue"
	"github.com/pollux-io/pollux/internal/selector"
	"github.com/pollux-io/pollux/internal/sys"
)

// A backend that only package loop can use is an error that says so.
func TestLoopsOnlyBackend(t *testing.T) {
	t.Setenv(BackendEnv, "uring")
	_, err := New()
	if !errors.Is(err, ErrBackend) || !strings.Contains(err.Error(), "package loop") {
		t.Error(err)
	}
}

func TestUnknownBackendIsNamed(t *testing.T) {
	usable := Backends()[0].Name
	for _, how := range []struct{ env, option string }{
		{"", "carrier-pigeon"}, {"carrier-pigeon", ""}, {usable, "carrier-pigeon"}, {"carrier-pigeon", usable},
	} {
		t.Run(how.env+"/"+how.option, func(t *testing.T) {
			var options []Option
			t.Setenv(BackendEnv, how.env)
			if how.option != "" {
				options = append(options, Backend(how.option))
			}
			_, err := New(options...)
			if !errors.Is(err, ErrBackend) || !strings.Contains(err.Error(), `"carrier-pigeon"`) {
				t.Errorf("New: %v, want ErrBackend with the unknown name", err)
			}
		})
	}
	if os.Getenv(BackendEnv) == "" {
		q, err := New()
		if err != nil {
			t.Fatal(err)
		}
		defer q.Close()
		found := false
		for _, b := range Backends() {
			found = found || b.Default && b.Name == q.Backend()
		}
		if !found {
			t.Errorf("Backend() = %q, which Backends() does not call the default: %+v", q.Backend(), Backends())
		}
	}
}

func TestBadOptions(t *testing.T) {
	if _, err := New(nil); !errors.Is(err, ErrBadArgument) {
		t.Errorf("nil: %v, want ErrBadArgument", err)
	}
	for _, d := range []time.Duration{-1, MaxBusyPoll + 1} {
		if _, err := New(BusyPoll(d)); !errors.Is(err, ErrBadArgument) {
			t.Errorf("BusyPoll(%v): %v, want ErrBadArgument", d, err)
		}
	}
}

func TestStrings(t *testing.T) {
	for got, want := range map[string]string{
		(Readable | Writable).String(): "Readable|Writable",
		Interest(0).String():           "none",
		Edge.String():                  "Edge",
		(Level | Oneshot).String():     "Level|Oneshot",
		Event{token: 7, flags: selector.Closed | selector.ReadableFlag}.String(): "token 7: Readable|Closed",
	} {
		if got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

// failing is a selector all of whose operations fail with err.
type failing struct {
	selector.Selector // nil: methods that are not overridden panic
	err               error
}

func (f failing) Add(sys.FD, selector.Key, selector.Interest, selector.Trigger) error { return f.err }

func (f failing) Wait([]selector.Event, time.Duration) (int, error) { return 0, f.err }

func (f failing) Notify() error { return f.err }

func (f failing) NotifyAll() error { return f.err }
func (f failing) Close() error     { return nil }

type bare struct{ handle.Held }

// Each error is an *OpError with the operation, the source and the cause.
func TestQ9ErrorsArePublic(t *testing.T) {
	q := Over(queue.New("failing", failing{err: syscall.ENOSPC}))
	src := &bare{}
	handle.Of(src).Init(1001, handle.Foreign)
	w, err := q.NewWaker(1)
	if err != nil {
		t.Fatal(err)
	}
	reg := q.Registrator()
	_, waitErr := q.Wait(make([]Event, 1), 0)
	_, noRoom := q.Wait(nil, 0)
	const described = "descriptor (descriptor 1001)"
	for _, c := range []struct {
		err  error
		want OpError
	}{
		{reg.Register(src, 1, Readable, Edge), OpError{Op: "register", Source: described, Err: syscall.ENOSPC}},
		{reg.Reregister(src, 1, Readable, Edge), OpError{Op: "reregister", Source: described, Err: ErrNotRegistered}},
		{reg.Deregister(src), OpError{Op: "deregister", Source: described, Err: ErrNotRegistered}},
		{reg.Deregister((*bare)(nil)), OpError{Op: "deregister", Source: "", Err: ErrSourceClosed}},
		{reg.Deregister(nil), OpError{Op: "deregister", Source: "", Err: ErrSourceClosed}},
		{waitErr, OpError{Op: "wait", Source: "", Err: syscall.ENOSPC}},
		{noRoom, OpError{Op: "wait", Source: "", Err: ErrNoRoom}},
		{w.Wake(), OpError{Op: "wake", Source: "", Err: syscall.ENOSPC}},
		{q.Close(), OpError{Op: "close", Source: "", Err: syscall.ENOSPC}},
		{q.Close(), OpError{Op: "close", Source: "", Err: ErrClosed}},
		{w.Wake(), OpError{Op: "wake", Source: "", Err: ErrClosed}},
		{second(q.NewWaker(2)), OpError{Op: "waker", Source: "", Err: ErrClosed}},
	} {
		var e *OpError
		if !errors.As(c.err, &e) || e.Op != c.want.Op || e.Source != c.want.Source || !errors.Is(e, c.want.Err) {
			t.Errorf("%v, want %v", c.err, &c.want)
			continue
		}
		if !strings.HasPrefix(e.Error(), fmt.Sprintf("pollux: %s", e.Op)) {
			t.Errorf("%q does not name the operation", e)
		}
	}
}

func second[T any](_ T, err error) error { return err }

// Wait stores no more events than fit, and at most 512.
func TestWaitFillsTheSlice(t *testing.T) {
	q, err := New()
	if err != nil {
		t.Fatal(err)
	}
	defer q.Close()
	const all = 2000
	got := map[Token]bool{}
	for i := range all {
		w, err := q.NewWaker(Token(i))
		if err == nil {
			err = w.Wake()
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	for size := 1; len(got) < all; size = size*3 + 1 {
		events := make([]Event, size)
		n, err := q.Wait(events, 0)
		if n > min(size, 512) || err != nil {
			t.Fatalf("Wait for %d events = %d, %v", size, n, err)
		}
		for _, ev := range events[:n] {
			if !ev.Readable() || got[ev.Token()] {
				t.Fatalf("%v, which is not a new wake", ev)
			}
			got[ev.Token()] = true
		}
		for _, ev := range events[n:] {
			if ev != (Event{}) {
				t.Fatalf("%v after the %d events of Wait", ev, n)
			}
		}
		size = min(size, 2000)
	}
}

// The flags of EventOf are those of the event, whose token is 0.
func TestEventOf(t *testing.T) {
	const flags = selector.ReadableFlag | selector.WritableFlag | selector.PriorityFlag | selector.ReadClosed | selector.WriteClosed | selector.Error | selector.Closed
	for bit := selector.Flags(1); bit&flags != 0; bit <<= 1 {
		ev := EventOf(bit)
		got := map[selector.Flags]bool{
			selector.ReadableFlag: ev.Readable(), selector.WritableFlag: ev.Writable(), selector.PriorityFlag: ev.Priority(),
			selector.ReadClosed: ev.ReadClosed(), selector.WriteClosed: ev.WriteClosed(), selector.Error: ev.Error(), selector.Closed: ev.Closed(),
		}
		for f, is := range got {
			if is != (f == bit) {
				t.Errorf("%v: flag %#x is %v", ev, f, is)
			}
		}
		if ev.Token() != 0 {
			t.Errorf("%v, want token 0", ev)
		}
	}
}
