package uring

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/pollux-io/pollux/internal/sys"
)

// Probe returns an error if the driver cannot work here. It caches the result, unless the
// cause was a lack of file descriptors or memory.
func Probe() error {
	_, err := probed()
	return err
}

// features are optional features of the kernel that the driver uses.
type features struct {
	sendsTo bool // IORING_OP_SEND may have an address
	limits  bool // a multishot receive may have a limit
}

// probeResult is the cached result of probe.
var probeResult struct {
	sync.Mutex
	done bool
	has  features
	err  error
}

func probed() (has features, err error) {
	p := &probeResult
	p.Lock()
	defer p.Unlock()
	if p.done {
		return p.has, p.err
	}
	has, err = probe()
	if err != nil {
		if e := checkDescriptors(); e != 0 {
			return has, fmt.Errorf("probing the kernel: %w; raise the limit of open file descriptors (ulimit -n)", os.NewSyscallError("eventfd", e))
		}
		if errors.Is(err, syscall.ENOMEM) || errors.Is(err, syscall.EAGAIN) {
			return has, err // transient
		}
	}
	p.done, p.has, p.err = true, has, err
	return has, err
}

// checkDescriptors returns an error if fewer descriptors are left than the probe needs.
func checkDescriptors() syscall.Errno {
	for range 8 {
		fd, e := sys.Eventfd()
		if e != 0 {
			return e
		}
		defer sys.Close(fd)
	}
	return 0
}

// Note describes, for people, which features of the kernel are used and which are missing.
func Note() string {
	return "io_uring(7), for loops only: multishot accept and receive; " + setupNote()
}

var setupNote = sync.OnceValue(func() string {
	ring, err := newRing(options{entries: 8, completions: 16})
	if err != nil {
		return err.Error()
	}
	defer ring.Close()
	has, _ := probed()
	var with, without []string
	for _, x := range []struct {
		has         bool
		what, since string
	}{
		{ring.Flags&sys.IORING_SETUP_DEFER_TASKRUN != 0, "DEFER_TASKRUN", "6.1"},
		{has.sendsTo, "datagram sends with an address", "6.1"},
		{ring.Features&sys.IORING_FEAT_RECVSEND_BUNDLE != 0, "bundled receives", "6.10"},
		{has.limits, "receive limits", "6.17"},
	} {
		if x.has {
			with = append(with, x.what)
		} else {
			without = append(without, x.what+" (Linux "+x.since+")")
		}
	}
	note := strings.Join(with, ", ")
	if len(without) > 0 {
		note += "; without " + strings.Join(without, ", ")
	}
	return strings.TrimPrefix(note, "; ")
})

// probe tries everything that the driver uses, because the kernel does not report all of its
// features, and seccomp filters refuse an operation only when it is used.
func probe() (has features, err error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	ring, err := newRing(options{entries: 8, completions: 16})
	if err != nil {
		return has, err
	}
	defer ring.Close()
	for _, f := range []struct {
		bit  uint32
		what string
	}{
		{sys.IORING_FEAT_NODROP, "completions that are never dropped (IORING_FEAT_NODROP)"},
		{sys.IORING_FEAT_FAST_POLL, "waiting without a kernel thread (IORING_FEAT_FAST_POLL)"},
		{sys.IORING_FEAT_EXT_ARG, "waiting with a timeout (IORING_FEAT_EXT_ARG)"},
		{sys.IORING_FEAT_CQE_SKIP, "cancelling without a completion (IORING_FEAT_CQE_SKIP)"},
	} {
		if ring.Features&f.bit == 0 {
			return has, fmt.Errorf("this kernel's io_uring does not support %s; Linux 6.0 is needed", f.what)
		}
	}
	missing, e := ring.Supports(sys.IORING_OP_POLL_ADD, sys.IORING_OP_ACCEPT, sys.IORING_OP_CONNECT,
		sys.IORING_OP_ASYNC_CANCEL, sys.IORING_OP_RECV, sys.IORING_OP_SEND, sys.IORING_OP_RECVMSG, sys.IORING_OP_SENDMSG)
	switch {
	case e != 0:
		return has, fmt.Errorf("listing the supported operations: %w", needs("Linux 6.0", os.NewSyscallError("io_uring_register", e)))
	case len(missing) > 0:
		return has, fmt.Errorf("this kernel's io_uring lacks the operations %v of <linux/io_uring.h>; Linux 6.0 is needed", missing)
	}
	buffers, e := ring.RegisterBuffers(bufferGroup, 4, 64)
	if e != 0 {
		return has, fmt.Errorf("registering buffers: %w", needs("Linux 5.19", os.NewSyscallError("io_uring_register", e)))
	}
	defer buffers.Free()
	if e := ring.Enable(); e != 0 {
		return has, fmt.Errorf("enabling the ring: %w", needs("Linux 6.0", os.NewSyscallError("io_uring_register", e)))
	}
	if err := tryReceive(ring, buffers); err != nil {
		return has, fmt.Errorf("trying a multishot receive: %w", needs("Linux 6.0", err))
	}
	if err := tryAccept(ring); err != nil {
		return has, fmt.Errorf("trying a connect and a multishot accept: %w", needs("Linux 5.19", err))
	}
	if has.sendsTo, err = tryDatagrams(ring, buffers); err != nil {
		return has, fmt.Errorf("trying a multishot receive of datagrams: %w", needs("Linux 6.0", err))
	}
	has.limits, err = tryLimit(ring, buffers)
	if err != nil {
		return has, fmt.Errorf("trying a receive with a limit: %w", err)
	}
	return has, nil
}

// needs adds the likely cause to err. A kernel that has io_uring returns none of the errors
// tested below for these calls, so a seccomp filter does.
func needs(kernel string, err error) error {
	switch {
	case errors.Is(err, syscall.EPERM), errors.Is(err, syscall.EACCES), errors.Is(err, syscall.ENOSYS):
		return fmt.Errorf("%w: a seccomp filter forbids it; allow it there", err)
	case sys.IsResourceError(err): // no statement about the kernel
		return err
	}
	return fmt.Errorf("%w; %s is needed", err, kernel)
}

var errBehaviour = errors.New("the kernel returned an unexpected completion")

// waitOne waits for a completion, and fails if none comes in a second.
func waitOne(ring *sys.URing) (sys.URingCQE, error) {
	for end := time.Now().Add(time.Second); time.Now().Before(end); {
		if first, end := ring.Ready(); first != end {
			q := *ring.At(first)
			ring.Seen(first + 1)
			return q, nil
		}
		if e := ring.Wait(100 * time.Millisecond); e != 0 && !isTransient(e) {
			return sys.URingCQE{}, os.NewSyscallError("io_uring_enter", e)
		}
	}
	return sys.URingCQE{}, errors.New("no completion came in a second")
}

// tryReceive receives two messages with one submission, and cancels it.
func tryReceive(ring *sys.URing, buffers *sys.URingBuffers) error {
	pair, e := sys.Socketpair(sys.SOCK_STREAM)
	if e != 0 {
		return os.NewSyscallError("socketpair", e)
	}
	defer sys.Close(pair[0])
	defer sys.Close(pair[1])
	q := ring.Next()
	q.SetRecv(pair[0], bufferGroup, ring.Features&sys.IORING_FEAT_RECVSEND_BUNDLE != 0)
	q.UserData = opReceive
	for range 2 {
		if _, e := sys.Send(pair[1], probeData, 0); e != 0 {
			return os.NewSyscallError("send", e)
		}
		c, err := waitOne(ring)
		if err != nil {
			return err
		}
		if c.Res < 0 {
			return syscall.Errno(-c.Res)
		}
		if int(c.Res) != len(probeData) || c.Flags&sys.IORING_CQE_F_BUFFER == 0 || c.Flags&sys.IORING_CQE_F_MORE == 0 {
			return errBehaviour
		}
		buffers.Give(uint16(c.Flags >> sys.IORING_CQE_BUFFER_SHIFT))
		buffers.Publish()
	}
	return tryCancel(ring, opReceive)
}

// tryLimit reports whether a multishot receive ends at its limit. Before Linux 6.17 the kernel
// refuses limits.
func tryLimit(ring *sys.URing, buffers *sys.URingBuffers) (bool, error) {
	if ring.Features&sys.IORING_FEAT_RECVSEND_BUNDLE == 0 {
		return false, nil
	}
	pair, e := sys.Socketpair(sys.SOCK_STREAM)
	if e != 0 {
		return false, os.NewSyscallError("socketpair", e)
	}
	defer sys.Close(pair[0])
	defer sys.Close(pair[1])
	if _, e := sys.Send(pair[1], probeData, 0); e != 0 {
		return false, os.NewSyscallError("send", e)
	}
	q := ring.Next()
	q.SetRecvSome(pair[0], bufferGroup, true, len(probeData))
	q.UserData = opReceive
	c, err := waitOne(ring)
	if err != nil {
		return false, err
	}
	if c.Flags&sys.IORING_CQE_F_BUFFER != 0 {
		buffers.Give(uint16(c.Flags >> sys.IORING_CQE_BUFFER_SHIFT))
		buffers.Publish()
	}
	if c.Flags&sys.IORING_CQE_F_MORE != 0 {
		return false, tryCancel(ring, opReceive)
	}
	return int(c.Res) == len(probeData), nil
}

// tryAccept connects to a non-blocking listener, accepts, and cancels the accept.
func tryAccept(ring *sys.URing) error {
	fd, name, err := autobound(sys.SOCK_STREAM)
	if err != nil {
		return err
	}
	defer sys.Close(fd)
	if e := sys.Listen(fd, 1); e != 0 {
		return os.NewSyscallError("listen", e)
	}
	client, e := sys.Socket(sys.AF_UNIX, sys.SOCK_STREAM, 0)
	if e != 0 {
		return os.NewSyscallError("socket", e)
	}
	defer sys.Close(client)
	probing.name = name
	q := ring.Next()
	q.SetAccept(fd)
	q.UserData = opAccept
	q = ring.Next()
	q.SetConnect(client, &probing.name)
	q.UserData = opConnect
	for range 2 {
		c, err := waitOne(ring)
		switch {
		case err != nil:
			return err
		case c.Res < 0:
			return syscall.Errno(-c.Res)
		case c.UserData == opAccept:
			sys.Close(sys.FD(c.Res))
			if c.Flags&sys.IORING_CQE_F_MORE == 0 {
				return errBehaviour
			}
		case c.UserData != opConnect:
			return errBehaviour
		}
	}
	return tryCancel(ring, opAccept)
}

// tryDatagrams has a socket receive what it sends to itself, and reports whether
// IORING_OP_SEND took the address.
func tryDatagrams(ring *sys.URing, buffers *sys.URingBuffers) (sendsTo bool, err error) {
	fd, name, err := autobound(sys.SOCK_DGRAM)
	if err != nil {
		return false, err
	}
	defer sys.Close(fd)
	probing.name = name
	q := ring.Next()
	q.SetRecvDatagrams(fd, &probing.receive, bufferGroup)
	q.UserData = opPacket
	q = ring.Next()
	q.SetSendTo(fd, probeData, &probing.name)
	q.UserData = opPacketSend
	for range 2 {
		c, err := waitOne(ring)
		switch {
		case err != nil:
			return false, err
		case c.UserData == opPacketSend && c.Res == -int32(syscall.EINVAL):
			if _, e := sys.SendTo(fd, probeData, &name); e != 0 {
				return false, os.NewSyscallError("sendto", e)
			}
		case c.Res < 0:
			return false, syscall.Errno(-c.Res)
		case c.UserData == opPacketSend:
			sendsTo = true
		default:
			data, _, truncated := buffers.Datagram(uint16(c.Flags>>sys.IORING_CQE_BUFFER_SHIFT), int(c.Res))
			if string(data) != string(probeData) || truncated || c.Flags&sys.IORING_CQE_F_MORE == 0 {
				return false, errBehaviour
			}
		}
	}
	return sendsTo, tryCancel(ring, opPacket)
}

// What the kernel reads must not be on a stack, because stacks move.
var (
	probeData = []byte("probe")
	probing   struct {
		receive sys.URingReceive
		name    sys.Sockaddr
	}
)

// autobound returns a Unix socket bound to a name that the kernel has chosen (unix(7),
// autobind).
func autobound(typ int) (fd sys.FD, name sys.Sockaddr, err error) {
	fd, e := sys.Socket(sys.AF_UNIX, typ, 0)
	if e != 0 {
		return fd, name, os.NewSyscallError("socket", e)
	}
	name.SetUnix("@probe")
	name.Len = 2 // the family only
	if e = sys.Bind(fd, &name); e != 0 {
		err = os.NewSyscallError("bind", e)
	} else if name, e = sys.LocalAddr(fd); e != 0 {
		err = os.NewSyscallError("getsockname", e)
	}
	if err != nil {
		sys.Close(fd)
	}
	return fd, name, err
}

func tryCancel(ring *sys.URing, data uint64) error {
	q := ring.Next()
	q.SetCancel(data)
	q.UserData = opCancel
	c, err := waitOne(ring)
	switch {
	case err != nil:
		return err
	case c.UserData != data || c.Res != -int32(syscall.ECANCELED) || c.Flags&sys.IORING_CQE_F_MORE != 0:
		return errBehaviour
	}
	return nil
}
