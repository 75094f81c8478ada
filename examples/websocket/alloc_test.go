package main

import (
	"bytes"
	"context"
	"io"
	"strings"
	"testing"
	"time"
)

// A message of moderate length comes back from /echo without an allocation, and so does a ping.
func TestEchoAllocatesNothing(t *testing.T) {
	c := open(t, dial(t, start(t, defaults)), echoPath)
	for _, size := range []int{0, 100, 4000} {
		sent := append(text(strings.Repeat("x", size)), frame(fin|opPing, "ping")...)
		back := make([]byte, len(sent)-8) // without the masks
		allocated := testing.AllocsPerRun(500, func() {
			c.Write(sent)
			if _, err := io.ReadFull(c.in, back); err != nil {
				t.Fatal(err)
			}
		})
		if allocated >= 1 {
			t.Errorf("%v allocations for a message of %d bytes", allocated, size)
		}
		if !bytes.Equal(back[len(back)-4:], []byte("ping")) {
			t.Fatalf("the end is %q", back[len(back)-4:])
		}
	}
}

// Limits that cannot work together are refused at the start, with the flag to change.
func TestOptions(t *testing.T) {
	for flag, change := range map[string]func(*options){
		"-max-message": func(o *options) { o.maxMessageBytes = 0 },
		"-max-echo":    func(o *options) { o.maxEchoBytes = maxLimitBytes + 1 },
		"-max-unsent":  func(o *options) { o.maxUnsentBytes = 2*o.maxMessageBytes - 1 },
		"-ping":        func(o *options) { o.pingInterval = -time.Second },
	} {
		o := defaults
		change(&o)
		if err := serve(context.Background(), "127.0.0.1:0", o, 0, nil); err == nil || !strings.Contains(err.Error(), flag) {
			t.Errorf("%s: %v", flag, err)
		}
	}
}

// An address that cannot be listened on is an error, and leaves nothing running.
func TestAddressInUse(t *testing.T) {
	addr := start(t, defaults)
	if err := serve(context.Background(), addr, defaults, 0, nil); err == nil || !strings.Contains(err.Error(), addr) {
		t.Errorf("got %v, want an error with the address", err)
	}
}
