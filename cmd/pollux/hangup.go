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

	mu  sync.Mutex
	use func()
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

// handle calls the command's use of SIGHUP, and reports whether there is one.
func (h *hangup) handle() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.use == nil {
		return false
	}
	h.use()
	return true
}
