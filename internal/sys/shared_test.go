//go:build unix

package sys

import (
	"testing"

	"golang.org/x/sys/unix"
)

// Neither way of reading and writing blocks, though the descriptor was switched to blocking
// mode. A call that blocks would not return, because the other end does nothing.
func TestSharedNeverBlocks(t *testing.T) {
	for name, plain := range map[string]bool{"RWF_NOWAIT": false, "O_NONBLOCK": true} {
		t.Run(name, func(t *testing.T) {
			r, w, e := Pipe()
			if e != 0 {
				t.Fatal(e)
			}
			defer Close(r)
			defer func() { Close(w) }()
			var s Shared
			if plain {
				s.Plain()
			}
			unix.SetNonblock(r, false)
			if _, e := s.Read(r, make([]byte, 10)); !WouldBlock(e) {
				t.Errorf("Read: %v", e)
			}
			total := 0
			for e = 0; e == 0; {
				unix.SetNonblock(w, false)
				var n int
				n, e = s.Write(w, make([]byte, 3000))
				total += n
			}
			if !WouldBlock(e) || total < 512 {
				t.Errorf("Write: %d bytes, then %v", total, e)
			}
			unix.SetNonblock(r, false)
			if n, e := s.Read(r, make([]byte, 10)); n != 10 || e != 0 {
				t.Errorf("Read: %d, %v", n, e)
			}
			Close(w)
			for b := make([]byte, 1<<20); ; {
				n, e := s.Read(r, b)
				if n == 0 {
					if e != 0 {
						t.Errorf("Read at the end: %v", e)
					}
					break
				}
			}
			w = InvalidFD
		})
	}
}
