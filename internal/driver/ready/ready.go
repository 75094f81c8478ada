// Package ready is a driver over a queue.Poll: it turns the Poll's readiness into completions,
// and runs on every system that the Poll supports.
//
// It decides neither how readiness is reported, which is the selectors' part, nor what is done with
// the bytes. Read Turn first.
package ready

import (
	"github.com/pollux-io/pollux"
	"github.com/pollux-io/pollux/internal/driver"
	"github.com/pollux-io/pollux/internal/queue"
	"github.com/pollux-io/pollux/internal/selector"
)

// Driver is a Poll for one loop.
type Driver struct {
	driver.Base
	q       *queue.Poll
	waker   *queue.Waker
	events  [maxEvents]queue.Event
	n       int // how many events collect has taken
	scratch []byte

	streams   driver.Table[driver.Stream]
	listeners driver.Table[driver.Listener]
	driver.Watches
	driver.Packets
}

// maxEvents is how many events one turn takes from the Poll.
const maxEvents = 256

// Kinds of tokens.
const (
	kindStream = iota
	kindListener
	kindWatch
	kindPacket
	kindWaker
)

// Open returns a driver over a new Poll on b.
func Open(b *queue.Backend, c driver.Config) (*Driver, error) {
	q, err := b.Open(selector.Config{BusyPoll: c.BusyPoll})
	if err != nil {
		return nil, err
	}
	return OpenOn(q, c)
}

// OpenOn returns a driver over q. The driver closes it.
func OpenOn(q *queue.Poll, c driver.Config) (*Driver, error) {
	waker, err := q.NewWaker(driver.Token(kindWaker, 0, 0))
	if err != nil {
		q.Close()
		return nil, err
	}
	return &Driver{
		Base: driver.MakeBase(c),
		q:    q, waker: waker,
		scratch: make([]byte, c.ScratchBytes),
		Watches: driver.MakeWatches(q, kindWatch),
		Packets: driver.MakePackets(q, kindPacket),
	}, nil
}

// Name implements driver.Driver.
func (d *Driver) Name() string { return d.q.Backend() }

// SyncSend implements driver.Driver.
func (d *Driver) SyncSend() bool { return true }

// SendBlocked implements driver.Driver.
func (d *Driver) SendBlocked(s *driver.Stream) bool { return s.Flags&blocked != 0 }

// Wake implements driver.Driver.
func (d *Driver) Wake() error { return d.waker.Wake() }

// Spin implements driver.Driver.
func (d *Driver) Spin() pollux.SpinStats { return pollux.SpinStats(d.q.Spin()) }

// Close implements driver.Driver.
func (d *Driver) Close() error { return d.q.Close() }
