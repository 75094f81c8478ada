package uring

import (
	"fmt"
	"net"
	"os"
	"runtime"
	"sync"
	"syscall"
	"time"

	"github.com/pollux-io/pollux"
	"github.com/pollux-io/pollux/internal/driver"
	"github.com/pollux-io/pollux/internal/handle"
	"github.com/pollux-io/pollux/internal/sys"
)

// Name is the driver's name in POLLUX_BACKEND.
const Name = "uring"

// Driver is an io_uring for one loop.
type Driver struct {
	driver.Base
	ring       *sys.URing
	buffers    pool
	bundles    bool           // one receive may fill several buffers
	queuedSQEs []sys.URingSQE // those that did not fit in the submission queue
	inFlight   int            // operations without their last completion
	started    bool
	broken     error // why the ring no longer works; permanent
	abandoned  bool  // there may be completions of abandoned operations
	turn       uint32
	onlyOne    bool // the current completion is the only one of its turn

	slots     driver.Slots[slot]
	changed   driver.TurnQueue[driver.Stream] // those whose operations must be started or cancelled
	starved   driver.TurnQueue[driver.Stream] // those that found no buffer
	messages  []*sys.URingMessage             // free ones, for vectored sends
	sendBytes int                             // upper bound of the bytes in unsubmitted sends

	listeners driver.Table[acceptor]
	packets   packets
	has       features
	watches   watches
	sleep     sleep
}

// options are sizes and limits; tests use smaller ones.
type options struct {
	entries     uint32 // size of the submission queue
	completions uint32 // size of the completion queue; the kernel keeps what overflows, at a cost
	buffers     int
	noBundles   bool // a receive fills one buffer, as before Linux 6.10
	noLimits    bool // receives have no limit, as before Linux 6.17
}

var defaults = options{entries: 128, completions: 4096, buffers: 64}

// bufferBytes is the size of a buffer if one receive may fill several. If it may not (before
// Linux 6.10), the size is largeBufferBytes.
const (
	bufferBytes      = 16 << 10
	largeBufferBytes = 64 << 10
)

// bufferGroup is the ID of the streams' buffer group.
const bufferGroup = 0

// Open returns a driver. It fails if Probe does.
func Open(c driver.Config) (*Driver, error) {
	if err := Probe(); err != nil {
		return nil, err
	}
	return open(c, defaults)
}

func open(c driver.Config, o options) (*Driver, error) {
	ring, err := newRing(o)
	if err != nil {
		return nil, err
	}
	d := &Driver{
		Base: driver.MakeBase(c), ring: ring,
		changed: driver.TurnQueue[driver.Stream]{Mark: changed},
		starved: driver.TurnQueue[driver.Stream]{Mark: starved},
		bundles: ring.Features&sys.IORING_FEAT_RECVSEND_BUNDLE != 0 && !o.noBundles,
	}
	size := min(c.ScratchBytes, largeBufferBytes)
	if d.bundles {
		size = min(size, bufferBytes)
	}
	d.watches.epfd = sys.InvalidFD
	d.packets.out.submitted.L = &d.packets.out.mu
	d.sleep.Init(c.BusyPoll, false)
	d.has, _ = probed()
	d.has.limits = d.has.limits && d.bundles && !o.noLimits
	var e syscall.Errno
	if d.sleep.eventfd, e = sys.Eventfd(); e != 0 {
		ring.Close()
		return nil, os.NewSyscallError("eventfd", e)
	}
	if err := d.buffers.open(ring, o.buffers, size); err != nil {
		ring.Close()
		sys.Close(d.sleep.eventfd)
		return nil, err
	}
	return d, nil
}

// setups are the flags to create a ring with, best first. With DEFER_TASKRUN, the kernel runs
// a ring's tasks only when its thread enters, so they never interrupt it; without it,
// COOP_TASKRUN at least saves the interrupts between processors.
var setups = []uint32{
	sys.IORING_SETUP_SINGLE_ISSUER | sys.IORING_SETUP_DEFER_TASKRUN | sys.IORING_SETUP_TASKRUN_FLAG,
	sys.IORING_SETUP_SINGLE_ISSUER | sys.IORING_SETUP_COOP_TASKRUN | sys.IORING_SETUP_TASKRUN_FLAG,
}

// newRing creates a ring that is disabled until start: only the thread that enables it may
// enter it.
func newRing(o options) (*sys.URing, error) {
	const always = sys.IORING_SETUP_R_DISABLED | sys.IORING_SETUP_SUBMIT_ALL | sys.IORING_SETUP_CLAMP | sys.IORING_SETUP_CQSIZE
	var e syscall.Errno
	for _, flags := range setups {
		var ring *sys.URing
		if ring, e = sys.OpenURing(o.entries, o.completions, flags|always); e == 0 {
			return ring, nil
		}
		if e != syscall.EINVAL {
			break
		}
	}
	return nil, setupError(e)
}

func setupError(e syscall.Errno) error {
	err := os.NewSyscallError("io_uring_setup", e)
	switch e {
	case syscall.ENOSYS:
		return fmt.Errorf("%w: the kernel is built without io_uring, or a seccomp filter blocks it", err)
	case syscall.EPERM, syscall.EACCES:
		return fmt.Errorf("%w: the sysctl kernel.io_uring_disabled or a seccomp filter forbids it; allow io_uring there", err)
	case syscall.EINVAL:
		return fmt.Errorf("%w: the kernel's io_uring is too old; Linux 6.0 is needed", err)
	case syscall.ENOMEM:
		return fmt.Errorf("%w: the limit of locked memory is too low; raise it (ulimit -l), or that of the control group", err)
	}
	return err
}

// Name implements driver.Driver.
func (d *Driver) Name() string { return Name }

// Spin implements driver.Driver.
func (d *Driver) Spin() pollux.SpinStats { return pollux.SpinStats(d.sleep.Stats()) }

// start enables the ring for the calling thread.
func (d *Driver) start() error {
	runtime.LockOSThread()
	d.started = true
	if e := d.ring.Enable(); e != 0 {
		return os.NewSyscallError("io_uring_register", e)
	}
	d.ring.RegisterFD()
	d.armWake()
	return nil
}

// Close implements driver.Driver.
func (d *Driver) Close() error {
	if d.started {
		d.drain()
		if d.inFlight > 0 {
			d.abandon()
		}
		d.ring.UnregisterFD()
		runtime.UnlockOSThread()
	} else { // nothing has been submitted
		d.abandonPackets()
		d.inFlight = 0
	}
	d.ring.Close()
	d.watches.close()
	d.sleep.close()
	if d.inFlight > 0 {
		leaked.Store(d, true)
		return fmt.Errorf("uring: close: %d operations have not ended after %v; their memory is not freed", d.inFlight, closeTimeout)
	}
	d.buffers.free()
	if b := d.packets.buffers; b != nil {
		b.Free()
	}
	return nil
}

// leaked keeps drivers reachable whose operations did not end: the kernel may still use their
// memory.
var leaked sync.Map

// closeTimeout bounds how long Close waits for operations to end.
const closeTimeout = 5 * time.Second

// drain ends the operations in flight: the driver's own, and those of listeners that were
// just closed.
func (d *Driver) drain() {
	d.sleep.closing = true
	d.cancel(opWake, 0)
	if d.watches.armed {
		d.cancel(opWatches, 0)
	}
	for end := time.Now().Add(closeTimeout); d.inFlight > 0 && d.broken == nil && time.Now().Before(end); {
		d.applyChanges()
		d.moveQueuedSQEs()
		if e := d.ring.Wait(closeTimeout / 100); e != 0 && !isTransient(e) {
			break
		}
		d.deliverCompletions()
	}
}

// failure returns the error as package sock would return it.
func failure(op, call string, h *handle.Handle, source, addr net.Addr, e syscall.Errno) error {
	return &net.OpError{Op: op, Net: h.Kind().Network(), Source: source, Addr: addr, Err: sys.CallError(call, e)}
}
