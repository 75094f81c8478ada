package afd

import "github.com/pollux-io/pollux/internal/sys"

// perDevice is how many sockets share a handle of the AFD driver. To cancel a poll
// the kernel walks the list of polls in flight on its handle, which would be slow
// with one handle for all sockets; wepoll and mio use 32.
const perDevice = 32

// A device is a handle of the AFD driver.
type device struct {
	handle sys.FD
	users  int
	index  int // in devices.available, or -1 if it has perDevice users
}

// devices opens and shares devices. The caller of its methods must hold the
// selector's lock.
type devices struct {
	port      sys.FD
	key       uintptr
	available []*device // those with fewer than perDevice users
	count     int       // of open devices
}

// acquire adds a user to a device and returns the device.
func (d *devices) acquire() (*device, error) {
	if n := len(d.available); n > 0 {
		dev := d.available[n-1]
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
	d.count++
	return dev, nil
}

// release removes a user from dev. A device without users is closed, but the last
// device stays open for the next socket.
func (d *devices) release(dev *device) {
	if dev.users == perDevice {
		d.list(dev)
	}
	if dev.users--; dev.users == 0 && d.count > 1 {
		d.unlist(dev)
		d.close(dev)
	}
}

func (d *devices) close(dev *device) {
	sys.CloseHandle(dev.handle)
	d.count--
}

func (d *devices) list(dev *device) {
	dev.index = len(d.available)
	d.available = append(d.available, dev)
}

func (d *devices) unlist(dev *device) {
	last := d.available[len(d.available)-1]
	d.available[dev.index], last.index = last, dev.index
	d.available = d.available[:len(d.available)-1]
	dev.index = -1
}
