package uring

import (
	"testing"
	"time"
)

// A stream that found no buffer receives before the streams that had some receive again: a few
// busy streams, each of which could fill all buffers, do not keep a quiet one waiting.
func TestBusyStreamsTakeTurns(t *testing.T) {
	for what, o := range map[string]options{
		"bundles":              {entries: 128, completions: 4096, buffers: 8},
		"bundles, no limits":   {entries: 128, completions: 4096, buffers: 8, noLimits: true},
		"one buffer a receive": {entries: 128, completions: 4096, buffers: 8, noBundles: true},
	} {
		t.Run(what, func(t *testing.T) {
			const busy = 20
			b := newBench(t, o)
			all := b.connect(busy + 1)
			for _, s := range all {
				s.onData = func([]byte) bool { s.in = s.in[:0]; return true }
				b.Resume(&s.Stream)
			}
			stop := make(chan bool)
			stopped := make(chan bool, busy)
			for _, s := range all[:busy] {
				go func() {
					flood(s, stop)
					stopped <- true
				}()
			}
			for end := time.Now().Add(100 * time.Millisecond); time.Now().Before(end); { // until all are busy
				b.Turn(time.Millisecond)
			}
			quiet := all[busy]
			for range 100 {
				calls := quiet.calls
				quiet.peer.Write([]byte{1})
				turns := 0
				for ; quiet.calls == calls; turns++ {
					if turns > 3*len(all) {
						t.Fatalf("a quiet stream waits for more than %d turns, among %d busy ones", 3*len(all), busy)
					}
					b.Turn(time.Millisecond)
					time.Sleep(100 * time.Microsecond) // for the busy streams to have data again
				}
			}
			close(stop)
			for ended := 0; ended < busy; {
				select {
				case <-stopped:
					ended++
				default:
					b.Turn(time.Millisecond) // receives, so that blocked writes of peers end
				}
			}
			b.end(all...)
		})
	}
}

// flood keeps the stream's receive buffer full until stop.
func flood(s *testStream, stop chan bool) {
	p := make([]byte, 64<<10)
	for {
		select {
		case <-stop:
			return
		default:
			s.peer.SetWriteDeadline(time.Now().Add(time.Second))
			s.peer.Write(p)
		}
	}
}
