package overlapped

import (
	"errors"
	"fmt"
	"net"
	"sync/atomic"
	"time"

	"github.com/pollux-io/pollux"
	"github.com/pollux-io/pollux/internal/driver"
	"github.com/pollux-io/pollux/internal/handle"
	"github.com/pollux-io/pollux/internal/queue"
	"github.com/pollux-io/pollux/internal/selector/afd"
	"github.com/pollux-io/pollux/internal/spin"
	"github.com/pollux-io/pollux/internal/sys"
)

// Name is the driver's name in POLLUX_BACKEND.
const Name = "overlapped"

const (
	// maxBatch is how many completions one turn takes from the port, and for how many it
	// makes upcalls.
	maxBatch = 256
	// maxEvents is how many events of watched sources one turn reports.
	maxEvents = 64
	// maxReceives is how many receives one stream may make in a turn, whatever its budget,
	// so that the turn of a stream that receives little at a time ends too.
	maxReceives = 32
	// acceptsInFlight is how many accepts a listener has in flight, each with a socket: so
	// many connections can be accepted between two turns.
	acceptsInFlight = 16
	// maxSend is how many bytes one overlapped send has; the rest follows when it has
	// completed. The system locks their pages meanwhile.
	maxSend = 128 << 10
	// bufferBytes is the size of a busy stream's receive buffer, and maxBuffers how many of
	// them a driver has: 4 MiB.
	bufferBytes = 16 << 10
	maxBuffers  = 256
	// busyAfter is after how many consecutive receives that completed immediately a stream
	// is busy.
	busyAfter = 8
	// idleAfter is how long a busy stream may receive nothing before its buffer is taken
	// away.
	idleAfter = 100 * time.Millisecond
	// closeTimeout bounds the wait for completions of cancelled operations, which takes
	// microseconds.
	closeTimeout = 5 * time.Second
)

// Keys of completions.
const (
	wakeKey = 1 + iota // Wake
	opKey              // an op; Overlapped is the address of its OVERLAPPED
	pollKey            // a poll of the selector
)

// Driver is a completion port for one loop.
type Driver struct {
	driver.Base

	// port counts its users, so that it is closed after the last of them.
	port  handle.Handle
	woken atomic.Bool

	memory   memory
	inFlight int
	entries  [maxBatch]sys.OverlappedEntry
	ended    []*op // taken from the port, not reported yet
	scratch  []byte
	spins    spin.Governor
	turns    uint64

	conns     driver.Table[conn]
	freeConns []*conn  // used before
	lent      connList // those with a receive into a buffer in flight, oldest first
	finished  []*conn  // those to free before Released

	connectEx sys.ConnectEx // zero until it has been looked up

	listeners driver.Table[acceptor]

	sel    *afd.Selector
	q      *queue.Poll
	events [maxEvents]queue.Event
	n      int // how many events collect has taken
	driver.Watches
	driver.Packets
}

// Open returns a driver with a port of its own.
func Open(c driver.Config) (*Driver, error) {
	port, e := sys.CreatePort()
	if e != 0 {
		return nil, sys.CallError("CreateIoCompletionPort", e)
	}
	d := &Driver{Base: driver.MakeBase(c), scratch: make([]byte, c.ScratchBytes)}
	d.spins.InitFixed(c.BusyPoll)
	d.port.InitForeign(port, handle.Foreign, func(port sys.FD) { sys.CloseHandle(port) })
	sel, err := afd.OpenOn(port, pollKey, d.take)
	if err != nil {
		d.port.Close()
		return nil, err
	}
	d.sel = sel
	d.q = queue.New(Name, sel)
	d.Watches = driver.MakeWatches(d.q, kindWatch)
	d.Packets = driver.MakePackets(d.q, kindPacket)
	return d, nil
}

// Kinds of tokens.
const (
	kindConnect = iota
	kindListener
	kindWatch
	kindPacket
	kindFailure
)

// Probe returns an error if the driver cannot be used here.
func Probe() error {
	d, err := Open(driver.Config{ScratchBytes: 1, BudgetBytes: 1})
	if err != nil {
		return err
	}
	return d.Close()
}

// Note describes, for people, what the driver uses.
func Note() string {
	return "overlapped operations on a completion port; AFD polls for sources other than streams"
}

// Name implements driver.Driver.
func (d *Driver) Name() string { return Name }

// SyncSend implements driver.Driver: the kernel uses the memory that Send has not taken.
func (d *Driver) SyncSend() bool { return false }

// SendBlocked implements driver.Driver: Send starts an operation only if the kernel takes no more.
func (d *Driver) SendBlocked(s *driver.Stream) bool {
	c := d.connOf(s)
	return c.send != nil && c.send.state == inFlight
}

// Wake implements driver.Driver. There is at most one wake-up packet in the port.
func (d *Driver) Wake() error {
	if d.woken.Swap(true) {
		return nil
	}
	port, ok := d.port.Use()
	if !ok {
		return net.ErrClosed
	}
	defer d.port.Done()
	if e := sys.PostPort(port, wakeKey); e != 0 {
		d.woken.Store(false)
		return sys.CallError("PostQueuedCompletionStatus", e)
	}
	return nil
}

// Spin implements driver.Driver.
func (d *Driver) Spin() pollux.SpinStats { return pollux.SpinStats(d.spins.Stats()) }

// Close implements driver.Driver. The operations in flight of closed listeners and the polls of
// watches are already cancelled; Close waits for their completions, since the kernel writes to
// their memory until then.
func (d *Driver) Close() error {
	err := d.q.Close()
	end := time.Now().Add(closeTimeout)
	for d.inFlight > 0 && err == nil {
		if left := time.Until(end); left > 0 {
			err = d.take(left)
			continue
		}
		err = fmt.Errorf("%d operations have not completed after they were cancelled", d.inFlight)
	}
	for _, o := range d.ended {
		if o.kind == acceptOp && o.state == completed {
			o.state = idle
			d.acceptEnded(o)
		}
	}
	d.ended = nil
	if d.inFlight == 0 {
		d.memory.release()
	} // else leak it, because the kernel may still write to it
	return errors.Join(err, d.port.Close())
}
