package main

import (
	"context"
	"os"
	"os/signal"
	"sync"
	"syscall"
)

// A hangup is what SIGHUP does: it ends the run, unless the command has another use for it (onHangup). It is passed
// on in the context.
type hangup struct {
	signals chan os.Signal // to which main has the signals sent

	mu      sync.Mutex
	use     func() // set once
	running bool   // a goroutine calls use
	again   bool   // a signal has come meanwhile: use is called once more
}

type hangupKey struct{}

func withHangup(ctx context.Context, h *hangup) context.Context {
	return context.WithValue(ctx, hangupKey{}, h)
}

// onHangup makes SIGHUP call use, also under nohup, which ignores the signal.
func onHangup(ctx context.Context, use func()) {
	h, ok := ctx.Value(hangupKey{}).(*hangup)
	if !ok {
		return
	}
	h.mu.Lock()
	h.use = use
	h.mu.Unlock()
	if h.signals != nil {
		signal.Notify(h.signals, syscall.SIGHUP)
	}
}

// begin has the command's use of SIGHUP called, and reports whether there is one. It does not wait for that: use may
// read files that block, such as a named pipe, and other signals must still end the program.
func (h *hangup) begin() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	switch {
	case h.use == nil:
		return false
	case h.running:
		h.again = true
	default:
		h.running = true
		go h.call()
	}
	return true
}

// call calls use for all signals that have come. Signals that come during a call lead to one more.
func (h *hangup) call() {
	h.mu.Lock()
	defer h.mu.Unlock()
	for h.running {
		h.again = false
		h.mu.Unlock()
		h.use()
		h.mu.Lock()
		h.running = h.again
	}
}
