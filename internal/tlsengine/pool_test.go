package tlsengine

import (
	"crypto/tls"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pollux-io/pollux/internal/tlsengine/tlstest"
)

// stall begins n handshakes whose clients send a ClientHello and then nothing. It returns when all of them wait for
// their peers, or are queued.
func stall(t *testing.T, pool *Pool, n int) []*rig {
	t.Helper()
	server, client := tlstest.Configs(tls.VersionTLS13)
	hello := firstFlight(t, client)
	rigs := make([]*rig, n)
	for i := range rigs {
		rigs[i] = newRig(t, Options{Config: server, Pool: pool}, -1, nil)
		rigs[i].c.Feed(hello)
	}
	synctest.Wait()
	return rigs
}

// firstFlight returns a ClientHello.
func firstFlight(t testing.TB, client *tls.Config) []byte {
	t.Helper()
	s := newStream(-1, nil)
	answer := newStream(-1, nil)
	answer.end()
	if err := tls.Client(&peerConn{in: answer, out: s}, client).Handshake(); err == nil {
		t.Fatal("a handshake without a server")
	}
	return s.b
}

// healthy does a handshake with a client that answers at once, and returns how long it takes.
func healthy(t *testing.T, pool *Pool) time.Duration {
	t.Helper()
	begin := time.Now()
	server, client := tlstest.Configs(tls.VersionTLS13)
	r := newRig(t, Options{Config: server, Pool: pool}, -1, nil)
	peer := r.other(client, true)
	go peer.Handshake()
	r.until(func() bool { return r.done })
	if r.err != nil {
		t.Fatalf("the healthy handshake: %v", r.err)
	}
	r.peer.Close()
	return time.Since(begin)
}

func abortAll(rigs []*rig) {
	for _, r := range rigs {
		r.c.Abort(ErrTruncated)
	}
	synctest.Wait()
}

func TestStalledHandshakesKeepNoOthersFromTheirs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		pool := NewPool(PoolConfig{Workers: 1})
		rigs := stall(t, pool, 500)
		if s := pool.Stats(); s.InProgress != 500 || s.Waiting != 500 || s.Queued != 0 {
			t.Fatalf("%+v", s)
		}
		for range 20 {
			if took := healthy(t, pool); took != 0 {
				t.Errorf("a handshake takes %v", took)
			}
		}
		abortAll(rigs)
		if s := pool.Stats(); s != (PoolStats{}) {
			t.Errorf("%+v", s)
		}
	})
}

// TestSilentHandshakesAreEvictedForQueuedOnes: the pool is full of them several times over.
func TestSilentHandshakesAreEvictedForQueuedOnes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		pool := NewPool(PoolConfig{MaxInProgress: 100})
		rigs := stall(t, pool, 100)
		if took := healthy(t, pool); took != StallGrace {
			t.Errorf("a handshake takes %v", took)
		}
		rigs = append(rigs, stall(t, pool, 500)...)
		if s := pool.Stats(); s.InProgress != 100 || s.Queued+int(s.Evicted) < 500 {
			t.Errorf("%+v", s)
		}
		// 500 further ones are before it: each group of 100 has its StallGrace.
		if took := healthy(t, pool); took > 6*StallGrace {
			t.Errorf("a handshake takes %v", took)
		}
		var ended int
		for _, r := range rigs {
			r.turn()
			if r.err != nil {
				ended++
				if r.err != ErrHandshakeEvicted {
					t.Fatal(r.err)
				}
			}
		}
		if s := pool.Stats(); uint64(ended) != s.Evicted || s.Refused != 0 {
			t.Errorf("%d have ended, %+v", ended, s)
		}
		abortAll(rigs)
		if s := pool.Stats(); s.InProgress != 0 || s.Waiting != 0 || s.Queued != 0 {
			t.Errorf("%+v", s)
		}
	})
}

func TestSilentHandshakesStayWhileNoneIsQueued(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		pool := NewPool(PoolConfig{MaxInProgress: 3})
		rigs := stall(t, pool, 2)
		time.Sleep(10 * StallGrace) // virtual time
		healthy(t, pool)
		if s := pool.Stats(); s.Evicted != 0 || s.Waiting != 2 {
			t.Errorf("%+v", s)
		}
		abortAll(rigs)
	})
}

func TestPoolQueuesInOrderAndRefusesTheRest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		pool := NewPool(PoolConfig{MaxInProgress: 1, MaxQueued: 3, Workers: 1})
		server, client := tlstest.Configs(tls.VersionTLS13)
		leave := make(chan struct{})
		var order []int
		config := func(i int) *tls.Config {
			c := server.Clone()
			c.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) {
				order = append(order, i)
				<-leave
				return nil, nil
			}
			return c
		}
		hello := firstFlight(t, client)
		var rigs []*rig
		for i := range 4 {
			r := newRig(t, Options{Config: config(i), Pool: pool}, -1, nil)
			r.c.Feed(hello)
			rigs = append(rigs, r)
			synctest.Wait()
		}
		fifth, err := New(Options{Config: server, Pool: pool, Notify: func() {}})
		if err != nil {
			t.Fatal(err)
		}
		if err := fifth.Start(); err != ErrTooManyHandshakes {
			t.Errorf("the fifth: %v", err)
		}
		if p := fifth.Step(nil); !p.Done || p.Err != ErrTooManyHandshakes {
			t.Errorf("the fifth: %+v", p)
		}
		rigs[2].c.Abort(ErrTruncated) // while it is queued
		if s := pool.Stats(); s.InProgress != 1 || s.Queued != 2 || s.Refused != 1 {
			t.Errorf("%+v", s)
		}
		for _, r := range []*rig{rigs[0], rigs[1], rigs[3]} {
			leave <- struct{}{}
			synctest.Wait()
			r.c.Abort(ErrTruncated)
			synctest.Wait()
		}
		if len(order) != 3 || order[0] != 0 || order[1] != 1 || order[2] != 3 {
			t.Errorf("the order is %v", order)
		}
		if s := pool.Stats(); s.InProgress != 0 || s.Queued != 0 {
			t.Errorf("%+v", s)
		}
	})
}

// TestQueuedHandshakesTimeOut: the timeout includes the time in the queue.
func TestQueuedHandshakesTimeOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		pool := NewPool(PoolConfig{MaxInProgress: 1, Workers: 1})
		server, client := tlstest.Configs(tls.VersionTLS13)
		leave := make(chan struct{})
		blocked := server.Clone()
		blocked.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) { <-leave; return nil, nil }
		first := newRig(t, Options{Config: blocked, Pool: pool}, -1, nil)
		first.c.Feed(firstFlight(t, client))
		second := newRig(t, Options{Config: server, Pool: pool, Timeout: time.Second}, -1, nil)
		begin := time.Now()
		second.until(func() bool { return false })
		if took := time.Since(begin); second.err != ErrHandshakeTimeout || took != time.Second {
			t.Errorf("%v after %v", second.err, took)
		}
		if s := pool.Stats(); s.Queued != 0 || s.InProgress != 1 {
			t.Errorf("%+v", s)
		}
		close(leave)
		abortAll([]*rig{first})
	})
}

// A handshake that ends while its goroutine waits for a worker never begins: crypto/tls is not called.
func TestHandshakeThatEndsBeforeItComputesDoesNotBegin(t *testing.T) {
	for name, end := range map[string]func(c *Conn){
		"Abort":   func(c *Conn) { c.Abort(ErrTruncated) },
		"timeout": func(*Conn) { time.Sleep(time.Minute) }, // virtual time
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				pool := NewPool(PoolConfig{Workers: 1})
				server, client := tlstest.Configs(tls.VersionTLS13)
				leave := make(chan struct{})
				blocked := server.Clone()
				blocked.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) { <-leave; return nil, nil }
				first := newRig(t, Options{Config: blocked, Pool: pool}, -1, nil)
				first.c.Feed(firstFlight(t, client))
				synctest.Wait() // it has the worker
				cache := &askedCache{}
				client.ClientSessionCache = cache
				second := newRig(t, Options{Config: client, Client: true, Pool: pool, Timeout: time.Minute}, -1, nil)
				synctest.Wait()
				end(second.c)
				close(leave)
				abortAll([]*rig{first})
				if s := pool.Stats(); s.InProgress != 0 {
					t.Errorf("%+v", s)
				}
				if second.turn(); second.err == nil || cache.asked.Load() {
					t.Errorf("%v; crypto/tls was called: %t", second.err, cache.asked.Load())
				}
			})
		})
	}
}

// An askedCache is an empty cache that records whether a client has begun its handshake.
type askedCache struct{ asked atomic.Bool }

func (c *askedCache) Get(string) (*tls.ClientSessionState, bool) {
	c.asked.Store(true)
	return nil, false
}
func (c *askedCache) Put(string, *tls.ClientSessionState) {}

// TestWorkersBoundComputing: no more handshakes compute at once than there are workers, however many are in progress,
// and each completes.
func TestWorkersBoundComputing(t *testing.T) {
	const workers, clients = 2, 40
	pool := NewPool(PoolConfig{Workers: workers})
	server, client := tlstest.Configs(tls.VersionTLS13)
	var now, most atomic.Int32
	server.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) {
		n := now.Add(1)
		for m := most.Load(); n > m && !most.CompareAndSwap(m, n); m = most.Load() {
		}
		if len(pool.workers) > workers {
			t.Error("more workers than the pool has")
		}
		for range 100 {
			now.Load()
		}
		now.Add(-1)
		return nil, nil
	}
	var group sync.WaitGroup
	for range clients {
		group.Go(func() {
			r := newRig(t, Options{Config: server, Pool: pool}, -1, nil)
			go r.other(client, true).Handshake()
			r.until(func() bool { return r.done })
			if r.err != nil {
				t.Error(r.err)
			}
			r.peer.Close()
		})
	}
	group.Wait()
	if most.Load() > workers || len(pool.workers) != 0 {
		t.Errorf("%d handshakes computed at once, %d workers are reserved at the end", most.Load(), len(pool.workers))
	}
}

// TestBlockedCallbacksAreBoundedByWorkers: callbacks that block hold a worker each; further handshakes wait.
func TestBlockedCallbacksAreBoundedByWorkers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		pool := NewPool(PoolConfig{Workers: 3})
		server, client := tlstest.Configs(tls.VersionTLS13)
		leave := make(chan struct{})
		var inside atomic.Int32
		server.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) {
			inside.Add(1)
			<-leave
			inside.Add(-1)
			return nil, nil
		}
		hello := firstFlight(t, client)
		var rigs []*rig
		for range 10 {
			r := newRig(t, Options{Config: server, Pool: pool}, -1, nil)
			r.c.Feed(hello)
			rigs = append(rigs, r)
		}
		synctest.Wait()
		if inside.Load() != 3 {
			t.Errorf("%d callbacks run", inside.Load())
		}
		close(leave)
		synctest.Wait()
		if s := pool.Stats(); s.Waiting != 10 {
			t.Errorf("%+v", s)
		}
		abortAll(rigs)
	})
}

// TestASecondFlightNeedsAWorkerToo: what follows a wait for the peer is bounded as what precedes it.
func TestASecondFlightNeedsAWorkerToo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		pool := NewPool(PoolConfig{Workers: 3})
		server, client := tlstest.Configs(tls.VersionTLS13)
		server.ClientAuth = tls.RequestClientCert // VerifyConnection comes after the client's second flight
		leave := make(chan struct{})
		var inside atomic.Int32
		server.VerifyConnection = func(tls.ConnectionState) error {
			inside.Add(1)
			<-leave
			return nil
		}
		var group sync.WaitGroup
		for range 10 {
			r := newRig(t, Options{Config: server, Pool: pool}, -1, nil)
			go r.other(client, true).Handshake()
			group.Go(func() {
				r.until(func() bool { return r.done })
				if r.err != nil {
					t.Error(r.err)
				}
			})
		}
		synctest.Wait()
		if inside.Load() != 3 {
			t.Errorf("%d callbacks run", inside.Load())
		}
		close(leave)
		group.Wait()
	})
}

// TestHandshakesThatComputeAreNotEvicted: one has waited for its peer, and computes for longer than StallGrace since.
func TestHandshakesThatComputeAreNotEvicted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		pool := NewPool(PoolConfig{MaxInProgress: 1, Workers: 1})
		server, client := tlstest.Configs(tls.VersionTLS13)
		server.ClientAuth = tls.RequestClientCert // VerifyConnection comes after the client's second flight
		leave := make(chan struct{})
		server.VerifyConnection = func(tls.ConnectionState) error {
			<-leave
			return nil
		}
		var rigs []*rig
		for range 2 {
			r := newRig(t, Options{Config: server, Pool: pool}, -1, nil)
			go r.other(client, true).Handshake()
			rigs = append(rigs, r)
		}
		run := make(chan error, 2)
		for _, r := range rigs {
			go func() {
				r.until(func() bool { return r.done })
				run <- r.err
			}()
		}
		time.Sleep(5 * StallGrace) // virtual time
		if s := pool.Stats(); s != (PoolStats{InProgress: 1, Queued: 1}) {
			t.Errorf("%+v", s)
		}
		close(leave)
		for range rigs {
			if err := <-run; err != nil {
				t.Error(err)
			}
		}
		if s := pool.Stats(); s != (PoolStats{}) {
			t.Errorf("%+v", s)
		}
	})
}
