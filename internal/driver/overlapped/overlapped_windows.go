package overlapped

import (
	"errors"
	"fmt"
	"net"
	"slices"
	"sync/atomic"
	"time"

	"github.com/pollux-io/pollux"
	"github.com/pollux-io/pollux/internal/driver"
	"github.com/pollux-io/pollux/internal/handle"
	"github.com/pollux-io/pollux/internal/queue"
	"github.com/pollux-io/pollux/internal/selector"
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
	// port counts its users, so that it is closed after the last of them.
	port  handle.Handle
	woken atomic.Bool

	memory   memory
	inFlight int
	entries  [maxBatch]sys.OverlappedEntry
	ended    []*op // taken from the port, not reported yet
	scratch  []byte
	budget   int
	spins    spin.Governor
	turns    uint64

	conns     driver.Table[conn]
	freeConns []*conn  // used before
	lent      connList // those with a receive into a buffer in flight, oldest first
	released  []*conn  // to call Released

	// Streams that may have more data, or need other work in the next turn.
	busy driver.Line

	connectEx sys.ConnectEx // zero until it has been looked up

	listeners driver.Table[acceptor]
	changed   []*acceptor // those whose accepts submitAccepts must update

	sel     *afd.Selector
	q       *queue.Poll
	events  [maxEvents]queue.Event
	watches driver.Table[driver.Watch]
	driver.Packets
}

// Open returns a driver with a port of its own.
func Open(c driver.Config) (*Driver, error) {
	port, e := sys.CreatePort()
	if e != 0 {
		return nil, sys.CallError("CreateIoCompletionPort", e)
	}
	d := &Driver{scratch: make([]byte, c.ScratchBytes), budget: c.BudgetBytes, busy: driver.Line{Mark: busy}}
	d.spins.InitFixed(c.BusyPoll)
	d.port.InitForeign(port, handle.Foreign, func(port sys.FD) { sys.CloseHandle(port) })
	sel, err := afd.OpenOn(port, pollKey, d.take)
	if err != nil {
		d.port.Close()
		return nil, err
	}
	d.sel = sel
	d.q = queue.New(Name, sel)
	d.Packets = driver.MakePackets(d.q, kindPacket)
	return d, nil
}

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

// Turn implements driver.Driver.
func (d *Driver) Turn(timeout time.Duration) error {
	d.turns++
	timeout = d.submit(timeout)
	if err := d.wait(timeout); err != nil {
		d.reportReleased() // no other upcall will come, except for operations in flight
		return err
	}
	waiting, pending := d.busy.Len(), d.Pending()
	d.reportEnded()
	d.reportListeners()
	if err := d.collectWatches(); err != nil {
		d.reportReleased() // no other upcall will come, except for operations in flight
		return err
	}
	d.ReceiveMore(pending)
	for range waiting {
		d.serveBusy(d.busy.Take())
	}
	d.reportReleased()
	return nil
}

// submit starts and cancels operations as requested, and returns how long the turn may wait.
func (d *Driver) submit(timeout time.Duration) time.Duration {
	for range d.busy.Len() {
		d.startEarly(d.busy.Take())
	}
	d.submitAccepts()
	timeout = minTimeout(timeout, d.cancelIdleReceives())
	timeout = minTimeout(timeout, d.sel.BeforeSleep())
	if d.busy.Len() > 0 || len(d.ended) > 0 || len(d.released) > 0 || len(d.changed) > 0 || d.Pending() > 0 || d.sel.HasCompletions() {
		return 0
	}
	return timeout
}

// minTimeout returns the shorter of two timeouts; a negative one is infinite.
func minTimeout(a, b time.Duration) time.Duration {
	if a < 0 || b >= 0 && b < a {
		return b
	}
	return a
}

// wait takes completions from the port, and sleeps there if there are none.
func (d *Driver) wait(timeout time.Duration) error {
	if timeout == 0 {
		_, err := d.takeCompletions(0)
		return err
	}
	var w selector.Deadline
	w.SetTimeout(timeout)
	if idle := d.spins.Begin(true); idle.Spins() {
		now := time.Now()
		for end := w.Sooner(idle.Until()); now.Before(end); now = time.Now() {
			if n, err := d.takeCompletions(0); n > 0 || err != nil {
				idle.Hit(now)
				return err
			}
		}
		idle.Over(now)
	}
	_, err := d.takeCompletions(w.Left())
	return err
}

// Spin implements driver.Driver.
func (d *Driver) Spin() pollux.SpinStats { return pollux.SpinStats(d.spins.Stats()) }

// take takes completions for the selector.
func (d *Driver) take(timeout time.Duration) error {
	_, err := d.takeCompletions(timeout)
	return err
}

// takeCompletions takes completions from the port: it appends the driver's ops to ended, at
// most one completion for each op in flight, and passes the selector its own.
func (d *Driver) takeCompletions(timeout time.Duration) (int, error) {
	port, ok := d.port.Use()
	if !ok {
		return 0, net.ErrClosed
	}
	defer d.port.Done()
	n, e := sys.WaitPort(port, d.entries[:], timeout)
	if e != 0 {
		return 0, sys.CallError("GetQueuedCompletionStatusEx", e)
	}
	for i := range d.entries[:n] {
		switch entry := &d.entries[i]; entry.Key {
		case wakeKey:
			d.woken.Store(false)
		case pollKey:
			d.sel.AddCompletion(entry.Overlapped)
		case opKey:
			if o := d.memory.find(entry.Overlapped); o != nil {
				o.state = completed
				d.inFlight--
				d.ended = append(d.ended, o)
			}
		}
	}
	return n, nil
}

// reportEnded makes the upcalls of operations that have ended.
func (d *Driver) reportEnded() {
	n := min(len(d.ended), maxBatch)
	for i := range n {
		o := d.ended[i]
		if o.state != completed {
			continue // reported, and then the upcall ended the goroutine (runtime.Goexit)
		}
		o.state = idle
		switch o.kind {
		case receiveOp:
			d.receiveEnded(o.conn)
		case sendOp:
			d.sendEnded(o.conn)
		case acceptOp:
			d.acceptEnded(o)
		case connectOp:
			d.connectEnded(o.conn)
		}
	}
	// The upcalls may have taken further completions from the port, which were appended.
	rest := copy(d.ended, d.ended[n:])
	clear(d.ended[rest:])
	d.ended = d.ended[:rest]
}

// reportReleased calls Released. Streams that its upcalls release are left to the next turn.
func (d *Driver) reportReleased() {
	n := len(d.released)
	for i := range n {
		if c := d.released[i]; c != nil { // nil: reported, and then the upcall ended the goroutine (runtime.Goexit)
			d.released[i] = nil
			s := c.s
			d.freeConn(c)
			s.Up.Released()
		}
	}
	d.released = slices.Delete(d.released, 0, n)
}

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
