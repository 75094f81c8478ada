//go:build windows

package overlapped

import (
	"io"
	"runtime"
	"sync"
	"testing"
	"time"
)

// exitAtSent ends the goroutine after each Sent.
type exitAtSent struct{ *testStream }

func (s exitAtSent) Sent(n int, err error) {
	s.testStream.Sent(n, err)
	runtime.Goexit()
}

// Released comes after a Sent that ends the goroutine, if the stream was released when its send had completed.
func TestGoexitAtSent(t *testing.T) {
	d := open(t)
	e, c := pair(t, d)
	e.Up = exitAtSent{e}
	e.send(patternBytes(4 << 20))
	if !e.sendPending {
		t.Fatal("the send has not blocked")
	}
	sent := e.sent
	var reader sync.WaitGroup
	reader.Go(func() { io.Copy(io.Discard, c) })
	defer reader.Wait()
	defer c.Close()
	for end := time.Now().Add(patience); len(d.ended) == 0; {
		if time.Now().After(end) {
			t.Fatal("the send has not completed")
		}
		if err := d.take(20 * time.Millisecond); err != nil {
			t.Fatal(err)
		}
	}
	d.Release(&e.Stream)
	ended := make(chan bool)
	go func() {
		defer close(ended)
		d.Turn(0)
		t.Error("Sent did not come")
	}()
	<-ended
	if err := d.Turn(0); err != nil {
		t.Fatal(err)
	}
	if e.sent <= sent || e.released != 1 {
		t.Errorf("Sent reported %d bytes, and Released came %d times, want some bytes, and once", e.sent-sent, e.released)
	}
}
