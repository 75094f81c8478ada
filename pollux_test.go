package pollux

import (
	"errors"
	"fmt"
	"os"
	"reflect"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/pollux-io/pollux/internal/handle"
	"github.com/pollux-io/pollux/internal/queue"
	"github.com/pollux-io/pollux/internal/selector"
	"github.com/pollux-io/pollux/internal/sys"
	"github.com/pollux-io/pollux/internal/testkit"
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
	q, err := New(queue.Over(queue.New("failing", failing{err: syscall.ENOSPC})))
	if err != nil {
		t.Fatal(err)
	}
	src := &bare{}
	handle.Of(src).Init(1001, handle.Foreign)
	w, err := q.NewWaker(1)
	if err != nil {
		t.Fatal(err)
	}
	_, waitErr := q.Wait(make([]Event, 1), 0)
	_, noRoom := q.Wait(nil, 0)
	const described = "descriptor (descriptor 1001)"
	for _, c := range []struct {
		err  error
		want OpError
	}{
		{q.Register(src, 1, Readable, Edge), OpError{Op: "register", Source: described, Err: syscall.ENOSPC}},
		{q.Reregister(src, 1, Readable, Edge), OpError{Op: "reregister", Source: described, Err: ErrNotRegistered}},
		{q.Deregister(src), OpError{Op: "deregister", Source: described, Err: ErrNotRegistered}},
		{q.Deregister((*bare)(nil)), OpError{Op: "deregister", Source: "", Err: ErrSourceClosed}},
		{q.Deregister(nil), OpError{Op: "deregister", Source: "", Err: ErrSourceClosed}},
		{q.Registrator().Register(src, 1, Readable, Edge), OpError{Op: "register", Source: described, Err: syscall.ENOSPC}},
		{q.Registrator().Reregister(src, 1, Readable, Edge), OpError{Op: "reregister", Source: described, Err: ErrNotRegistered}},
		{q.Registrator().Deregister(src), OpError{Op: "deregister", Source: described, Err: ErrNotRegistered}},
		{Registrator{}.Register(src, 1, Readable, Edge), OpError{Op: "register", Source: "", Err: ErrClosed}},
		{Registrator{}.Deregister(src), OpError{Op: "deregister", Source: "", Err: ErrClosed}},
		{q.Register(nil, 1, Readable, Edge), OpError{Op: "register", Source: "", Err: ErrBadArgument}},
		{q.Register((*bare)(nil), 1, Readable, Edge), OpError{Op: "register", Source: "", Err: ErrSourceClosed}},
		{q.Register(src, 1, 0, Edge), OpError{Op: "register", Source: described, Err: ErrNoInterest}},
		{q.Register(src, 1, 0, Edge), OpError{Op: "register", Source: described, Err: ErrBadArgument}},
		{q.Register(src, 1, Readable, 1<<7), OpError{Op: "register", Source: described, Err: ErrBadTrigger}},
		{q.Register(src, 1, Readable, 1<<7), OpError{Op: "register", Source: described, Err: ErrBadArgument}},
		{noRoom, OpError{Op: "wait", Source: "", Err: ErrBadArgument}},
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

// Q8: each field of EventState is the method of its name, and no other, and an event's text names it.
func TestQ8NewEvent(t *testing.T) {
	for i := range reflect.TypeFor[EventState]().NumField() {
		var state EventState
		reflect.ValueOf(&state).Elem().Field(i).SetBool(true)
		ev := NewEvent(7, state)
		got := EventState{
			Readable: ev.Readable(), Writable: ev.Writable(), Priority: ev.Priority(),
			ReadClosed: ev.ReadClosed(), WriteClosed: ev.WriteClosed(), Failed: ev.Failed(), Closed: ev.Closed(),
		}
		if got != state || ev.Token() != 7 {
			t.Errorf("%+v, want %+v and token 7", got, state)
		}
		if want := "token 7: " + reflect.TypeFor[EventState]().Field(i).Name; ev.String() != want {
			t.Errorf("the event is %q, want %q", ev, want)
		}
	}
	if ev := NewEvent(1, EventState{Readable: true, Failed: true}); !ev.Readable() || !ev.Failed() || ev.Writable() || ev.Closed() {
		t.Errorf("%v, want Readable and Failed", ev)
	}
}

// No exported method or field leads to a queue's internals. Only types of this module are sources.
func TestNothingInternalIsPublic(t *testing.T) {
	testkit.CheckPublic(t, []reflect.Type{
		reflect.TypeFor[Poll](), reflect.TypeFor[Registrator](), reflect.TypeFor[Waker](), reflect.TypeFor[Event](), reflect.TypeFor[EventState](),
		reflect.TypeFor[Interest](), reflect.TypeFor[Trigger](), reflect.TypeFor[Token](), reflect.TypeFor[SpinStats](), reflect.TypeFor[BackendInfo](),
	}, nil)
	source := reflect.TypeFor[Source]()
	for i := range source.NumMethod() {
		if m := source.Method(i); m.IsExported() {
			t.Errorf("Source has the exported method %s", m.Name)
		}
	}
	if source.NumMethod() == 0 {
		t.Error("anything is a Source")
	}
}
