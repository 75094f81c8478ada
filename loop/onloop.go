package loop

import (
	"bytes"
	"runtime"
	"strconv"
)

// Some methods wait for a loop. Called on that loop they would wait forever; so they compare the
// current goroutine's number, as Go prints it, with the loops', and fail. That takes a
// microsecond, and none of them is for hot paths.

// goroutineID returns the number of the calling goroutine.
func goroutineID() uint64 {
	var b [64]byte
	_, rest, _ := bytes.Cut(b[:runtime.Stack(b[:], false)], []byte("goroutine "))
	number, _, _ := bytes.Cut(rest, []byte(" "))
	n, _ := strconv.ParseUint(string(number), 10, 64)
	return n
}

// currentLoop returns the loop of the group that runs on the calling goroutine, or nil.
func (g *Group) currentLoop() *Loop {
	if n := goroutineID(); n != 0 {
		for _, l := range g.loops {
			if l.goroutineID.Load() == n {
				return l
			}
		}
	}
	return nil
}

// checkNotOnLoop returns ErrOnLoop on a loop of the group.
func (g *Group) checkNotOnLoop() error {
	if g.currentLoop() != nil {
		return ErrOnLoop
	}
	return nil
}
