package simnet

import (
	"math"
	"math/rand/v2"
	"syscall"

	"github.com/pollux-io/pollux/internal/sys"
)

// Faults are what goes wrong at random on a host. All are probabilities, from 0 to 1.
type Faults struct {
	// PartialReads and PartialWrites are for each call on a stream: it transfers only a part of what
	// it could, at least one byte.
	PartialReads, PartialWrites float64
	// WouldBlock is for each read, write or accept that need not block: it returns EAGAIN, and an event
	// follows. The next call in the same direction does not.
	WouldBlock float64
	// Resets is for each segment with bytes that the host sends: the connection is reset instead.
	Resets float64
	// NoDescriptors is for each call that opens a descriptor: it returns EMFILE.
	NoDescriptors float64
}

// Validate returns an error that names the field that is out of range, or nil.
func (f *Faults) Validate() error {
	return validProbabilities("Faults", []probability{
		{"PartialReads", f.PartialReads},
		{"PartialWrites", f.PartialWrites},
		{"WouldBlock", f.WouldBlock},
		{"Resets", f.Resets},
		{"NoDescriptors", f.NoDescriptors},
	})
}

// SetFaults sets what goes wrong on all hosts from now on, and on those that are made later. It panics
// if a field is out of range.
func (n *Network) SetFaults(f Faults) {
	f.mustBeValid()
	n.mu.Lock()
	defer n.mu.Unlock()
	n.config.Faults = f
	for _, h := range n.hosts {
		h.faults = f
	}
}

// SetFaults sets what goes wrong on the host from now on. It panics if a field is out of range.
func (h *Host) SetFaults(f Faults) {
	f.mustBeValid()
	h.n.mu.Lock()
	defer h.n.mu.Unlock()
	h.faults = f
}

func (f *Faults) mustBeValid() {
	if err := f.Validate(); err != nil {
		panic(err)
	}
}

// A faulty is what a socket remembers of faults.
type faulty struct {
	// blocked has the directions, Readable and Writable, whose last call would block by a fault: the
	// next one does not, so that every fault is followed by progress.
	blocked State
	event   event // which follows a call that would block by a fault; do is nil before the first
}

// wouldBlockLocked reports whether a call is to return EAGAIN though the socket is ready.
func (s *Socket) wouldBlockLocked(direction State) bool {
	n, f := s.host.n, &s.faulty
	switch {
	case s.host.faults.WouldBlock == 0 || s.protocol.stateLocked()&direction == 0:
		return false
	case f.blocked&direction != 0:
		f.blocked &^= direction
		return false
	case !chance(n.rand, s.host.faults.WouldBlock):
		return false
	}
	f.blocked |= direction
	if f.event.do == nil {
		f.event = event{index: noIndex, do: func() {
			if !s.closed {
				s.changedLocked()
			}
		}}
	}
	n.scheduleLocked(&f.event, n.nowLocked())
	return true
}

// recvFaultsLocked returns the buffers that a receive is to fill, or an error.
func (s *Socket) recvFaultsLocked(bufs [][]byte, flags int) ([][]byte, syscall.Errno) {
	if flags != 0 {
		return bufs, 0
	}
	if s.wouldBlockLocked(Readable) {
		return nil, syscall.EAGAIN
	}
	if p := s.host.faults.PartialReads; p > 0 && s.typ == sys.SOCK_STREAM {
		bufs = partOf(s.host.n.rand, p, bufs, s.protocol.unreadLocked())
	}
	return bufs, 0
}

// sendFaultsLocked returns the buffers that a send is to take from, or an error.
func (s *Socket) sendFaultsLocked(bufs [][]byte, flags int) ([][]byte, syscall.Errno) {
	if flags != 0 {
		return bufs, 0
	}
	if s.wouldBlockLocked(Writable) {
		return nil, syscall.EAGAIN
	}
	if p := s.host.faults.PartialWrites; p > 0 && s.typ == sys.SOCK_STREAM {
		bufs = partOf(s.host.n.rand, p, bufs, math.MaxInt)
	}
	return bufs, 0
}

// partOf returns the buffers of a call that could transfer most bytes, or a part of them with the
// given probability.
func partOf(r *rand.Rand, probability float64, bufs [][]byte, most int) (part [][]byte) {
	total := 0
	for _, b := range bufs {
		total += len(b)
	}
	if total = min(total, most); total < 2 || !chance(r, probability) {
		return bufs
	}
	rest := 1 + r.IntN(total-1)
	for _, b := range bufs {
		b = b[:min(len(b), rest)]
		part = append(part, b)
		if rest -= len(b); rest == 0 {
			break
		}
	}
	return part
}

// descriptorFaultLocked returns EMFILE if opening a descriptor is to fail.
func (h *Host) descriptorFaultLocked() syscall.Errno {
	if chance(h.n.rand, h.faults.NoDescriptors) {
		return syscall.EMFILE
	}
	return 0
}
