package looptest_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/pollux-io/pollux/loop"
)

// funcs is a handler whose callbacks may be nil.
type funcs struct {
	opened     func(c *loop.Conn)
	data       func(c *loop.Conn, b []byte) (int, error)
	readClosed func(c *loop.Conn)
	closed     func(c *loop.Conn, why error)
}

func (f funcs) Opened(c *loop.Conn) {
	if f.opened != nil {
		f.opened(c)
	}
}

func (f funcs) Data(c *loop.Conn, b []byte) (int, error) {
	if f.data != nil {
		return f.data(c, b)
	}
	return len(b), nil
}

func (f funcs) ReadClosed(c *loop.Conn) {
	if f.readClosed != nil {
		f.readClosed(c)
		return
	}
	c.Close()
}

func (f funcs) Closed(c *loop.Conn, why error) {
	if f.closed != nil {
		f.closed(c, why)
	}
}

// echo sends back what it receives.
type echo struct{}

func (echo) Data(c *loop.Conn, b []byte) (int, error) { return c.Write(b) }

func echoes(*loop.Conn) loop.Handler { return echo{} }

// A recorder is a testing.TB that records what a test of its own reports. Only the methods that looptest
// calls are its own.
type recorder struct {
	testing.TB
	mu       sync.Mutex
	failed   bool
	log      strings.Builder
	cleanups []func()
}

func (r *recorder) Helper()      {}
func (r *recorder) Name() string { return "TestRecorded" }

func (r *recorder) Failed() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.failed
}

func (r *recorder) report(failed bool, s string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.failed = r.failed || failed
	r.log.WriteString(s + "\n")
}

func (r *recorder) Logf(format string, args ...any)   { r.report(false, fmt.Sprintf(format, args...)) }
func (r *recorder) Errorf(format string, args ...any) { r.report(true, fmt.Sprintf(format, args...)) }
func (r *recorder) Fatalf(format string, args ...any) { r.fatal(fmt.Sprintf(format, args...)) }
func (r *recorder) Fatal(args ...any)                 { r.fatal(fmt.Sprint(args...)) }

func (r *recorder) fatal(s string) {
	r.report(true, s)
	panic(fatal(s))
}

func (r *recorder) Context() context.Context { return context.Background() }

func (r *recorder) Cleanup(f func()) { r.cleanups = append(r.cleanups, f) }

// fatal is what a recorder's Fatal panics with.
type fatal string

// record runs f as a test, with its cleanups, and returns what it has reported.
func record(f func(t testing.TB)) (failed bool, log string) {
	r := &recorder{}
	func() {
		defer func() {
			if v := recover(); v != nil {
				if _, ok := v.(fatal); !ok {
					panic(v)
				}
			}
		}()
		f(r)
	}()
	for len(r.cleanups) > 0 {
		last := len(r.cleanups) - 1
		c := r.cleanups[last]
		r.cleanups = r.cleanups[:last]
		c()
	}
	return r.failed, r.log.String()
}
