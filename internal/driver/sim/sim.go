package sim

import (
	"github.com/pollux-io/pollux"
	"github.com/pollux-io/pollux/internal/driver"
	"github.com/pollux-io/pollux/internal/queue"
	"github.com/pollux-io/pollux/internal/simnet"
)

// Name is the driver's name.
const Name = "sim"

// Driver serves the sockets of a simulated host.
type Driver struct {
	driver.Base
	adversity Adversity
	dice      dice
	loop      simnet.Loop // whose turns these are
	before    func()      // of BeforeDelivery, or nil

	sockets *sockets
	q       *queue.Poll // over sockets
	events  [maxEvents]queue.Event
	n       int // how many events collect has taken, and those delayed before
	scratch []byte

	streams   driver.Table[driver.Stream]
	flows     driver.Pages[flow] // by the index of a stream
	listeners driver.Table[acceptor]
	driver.Watches
	driver.Packets

	out *outgoing // datagrams; nil without Adversity.AsyncPackets

	// What the next submit or deliver does, beside what Base has.
	requested driver.TurnQueue[driver.Stream] // to begin connecting, or to send
	releasing driver.TurnQueue[driver.Stream] // to release, maybe later
	delayed   []queue.Event                   // left to the next turn

	oneBuffer [1][]byte // to receive into
	iov       [][]byte  // a part of what is to be sent
}

// maxEvents is how many events one turn takes from the Poll, with those of earlier turns that are
// delayed.
const maxEvents = 256

// Kinds of tokens.
const (
	kindStream = iota
	kindListener
	kindWatch
	kindPacket
)

// Open returns a driver of the host. The adversity must be valid.
func Open(h *simnet.Host, c driver.Config, a Adversity) *Driver {
	n := h.Network()
	d := &Driver{
		Base:      driver.MakeBase(c),
		adversity: a,
		dice:      dice{n.NewRand()},
		loop:      h.NewLoop(),
		scratch:   make([]byte, c.ScratchBytes),
		requested: driver.TurnQueue[driver.Stream]{Mark: requested},
		releasing: driver.TurnQueue[driver.Stream]{Mark: releasing},
	}
	d.sockets = &sockets{
		host: h, wake: d.loop.Wake, wakeLocked: d.loop.WakeLocked,
		changed: driver.TurnQueue[registration]{Mark: 1},
	}
	if a.AsyncPackets {
		d.out = newOutgoing()
	}
	d.q = queue.New(Name, d.sockets)
	d.Watches = driver.MakeWatches(d.q, kindWatch)
	d.Packets = driver.MakePackets(d.q, kindPacket)
	return d
}

// Name implements driver.Driver.
func (d *Driver) Name() string { return Name }

// SyncSend implements driver.Driver.
func (d *Driver) SyncSend() bool { return !d.adversity.AsyncSend }

// SendBlocked implements driver.Driver.
func (d *Driver) SendBlocked(s *driver.Stream) bool { return s.Flags&blocked != 0 }

// Wake implements driver.Driver.
func (d *Driver) Wake() error {
	d.loop.Wake()
	return nil
}

// BeforeDelivery implements driver.Stepper.
func (d *Driver) BeforeDelivery(f func()) { d.before = f }

// Spin implements driver.Driver. Turn does not spin.
func (d *Driver) Spin() pollux.SpinStats { return pollux.SpinStats{} }

// Close implements driver.Driver.
func (d *Driver) Close() error {
	d.loop.End()
	return d.q.Close()
}
