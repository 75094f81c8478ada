package afd

import "github.com/pollux-io/pollux/internal/sys"

// perDevice is how many sockets share a handle of the AFD driver. To cancel a poll
// the kernel walks the list of those in flight on its handle, so that one handle
// for all would make it slow; 32 is what wepoll and mio use.
const perDevice = 32

// A device is a handle of the AFD driver.
type device struct {
	handle sys.FD
	users  int
	place  int // in devices.open, or -1 if it is full
}

// devices hands out devices. The selector's lock guards it.
type devices struct {
	port sys.FD
	key  uintptr
	open []*device // those with room
	all  int
}

// take returns a device with room for one more.
func (d *devices) take() (*device, error) {
	if n := len(d.open); n > 0 {
		dev := d.open[n-1]
		if dev.users++; dev.users == perDevice {
			d.unlist(dev)
		}
		return dev, nil
	}
	handle, e := sys.OpenAFD(d.port, d.key)
	if e != 0 {
		return nil, sys.CallError("NtCreateFile", e)
	}
	dev := &device{handle: handle, users: 1}
	d.list(dev)
	d.all++
	return dev, nil
}

// leave ends one use of dev. An empty device is closed, but the last is kept for
// the next socket.
func (d *devices) leave(dev *device) {
	if dev.users == perDevice {
		d.list(dev)
	}
	if dev.users--; dev.users == 0 && d.all > 1 {
		d.unlist(dev)
		d.close(dev)
	}
}

func (d *devices) close(dev *device) {
	sys.CloseHandle(dev.handle)
	d.all--
}

func (d *devices) list(dev *device) {
	dev.place = len(d.open)
	d.open = append(d.open, dev)
}

func (d *devices) unlist(dev *device) {
	last := d.open[len(d.open)-1]
	d.open[dev.place], last.place = last, dev.place
	d.open = d.open[:len(d.open)-1]
	dev.place = -1
}
