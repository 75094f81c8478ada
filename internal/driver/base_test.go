package driver

import (
	"runtime"
	"testing"
)

// onReleased is a stream's upcalls, of which only Released may come.
type onReleased func()

func (f onReleased) Connected(error)      { panic("Connected") }
func (f onReleased) Received([]byte) bool { panic("Received") }
func (f onReleased) ReceiveEnded(error)   { panic("ReceiveEnded") }
func (f onReleased) Sent(int, error)      { panic("Sent") }
func (f onReleased) Failed(error)         { panic("Failed") }
func (f onReleased) Released()            { f() }

// Released comes once for each stream, also after an upcall that has ended the goroutine; streams
// that an upcall releases are left to the next turn.
func TestReleasedComesOnce(t *testing.T) {
	b := MakeBase(Config{})
	var streams [4]Stream
	var count [len(streams)]int
	for i := range streams {
		streams[i].Up = onReleased(func() {
			count[i]++
			switch i {
			case 0:
				runtime.Goexit()
			case 1:
				b.AddReleased(&streams[3])
			}
		})
	}
	for i := range 3 {
		b.AddReleased(&streams[i])
	}
	turn := func() {
		ended := make(chan bool)
		go func() {
			defer close(ended)
			b.ReportReleased()
		}()
		<-ended
	}
	for i, want := range [][len(streams)]int{{1, 0, 0, 0}, {1, 1, 1, 0}, {1, 1, 1, 1}} {
		if turn(); count != want {
			t.Errorf("after turn %d, Released came %v times, want %v", i, count, want)
		}
		if b.HasWork() != (i < 2) {
			t.Errorf("after turn %d, HasWork reports %t", i, b.HasWork())
		}
	}
}

// Whatever the next turn serves keeps the turn from waiting.
func TestHasWork(t *testing.T) {
	b := MakeBase(Config{})
	for _, add := range []func(){
		func() { b.AddBusy(&Stream{}) },
		func() { b.AddAccepting(&Listener{}) },
		func() { b.AddReleased(&Stream{Up: onReleased(func() {})}) },
	} {
		if b.HasWork() {
			t.Fatal("HasWork reports true though there is nothing to serve")
		}
		if add(); !b.HasWork() {
			t.Error("HasWork reports false")
		}
		for range b.Busy.Len() {
			b.Busy.Take()
		}
		for range b.Accepting.Len() {
			b.Accepting.Take()
		}
		b.ReportReleased()
	}
}

// A reused index has another generation, also where generations wrap.
func TestTableGenerations(t *testing.T) {
	var table Table[Stream]
	table.StartAt(MaxGeneration - 1)
	var kept, first, second Stream
	for _, s := range []*Stream{&kept, &first} {
		table.Add(s, &s.State)
	}
	table.Remove(&first.State)
	if table.At(first.Index) != nil {
		t.Error("At returns an object that was removed")
	}
	table.Add(&second, &second.State)
	if second.Index != first.Index || second.Generation == first.Generation || second.Generation > MaxGeneration {
		t.Errorf("State %+v after %+v: want the same index, and another generation", second.State, first.State)
	}
	all := 0
	for i, s := range table.All() {
		if all++; s != table.At(i) || s.Index != i {
			t.Errorf("All yields another object at index %d than At", i)
		}
	}
	if all != 2 {
		t.Errorf("All yields %d objects, want 2", all)
	}
}
