package loop_test

import (
	"context"
	"io"
	"testing"
	"time"

	"github.com/pollux-io/pollux/loop"
)

const heldBytes = 256 << 10 // in the tests below: the kernel takes them all, and the peer's kernel not

// lingeringConn returns a connection that has been sent heldBytes and FIN, whose peer has read nothing.
func lingeringConn(t *testing.T, config loop.Config) (g *loop.Group, peer tcpConn) {
	sent := make(chan struct{})
	g, peer = serve(t, config, func(*loop.Conn) loop.Handler {
		return &funcs{
			data: func(c *loop.Conn, b []byte) (int, error) {
				c.SetWriteBuffer(2 * heldBytes)
				c.Write(make([]byte, heldBytes))
				c.Close()
				close(sent)
				return len(b), nil
			},
		}
	})
	peer.Write([]byte("?"))
	<-sent
	return g, peer
}

// shutDown begins Shutdown, and returns what that will have returned.
func shutDown(g *loop.Group) <-chan error {
	errs := make(chan error, 1)
	go func() { errs <- g.Shutdown(context.Background()) }()
	return errs
}

// L3, L8: Shutdown resets no connection whose peer is still reading what the kernel holds, however slowly
// it does and although it keeps sending. A peer that is reset may lose what it has not read.
func TestL8ShutdownWaitsForReaders(t *testing.T) { simulated(t, testShutdownWaitsForReaders) }

func testShutdownWaitsForReaders(t *testing.T) {
	config := loop.Config{LingerTimeout: 3 * time.Second, MaxLinger: time.Minute}
	g, peer := lingeringConn(t, config)
	shut := shutDown(g)
	readSlowly(t, peer)
	peer.Close()
	if err := <-shut; err != nil {
		t.Errorf("Shutdown: %v", err)
	}
}

// L3: nor does a connection that was closed when nothing was unsent.
func TestL3LingeringWaitsForReaders(t *testing.T) {
	simulated(t, func(t *testing.T) {
		_, peer := lingeringConn(t, loop.Config{LingerTimeout: 3 * time.Second, MaxLinger: time.Minute})
		readSlowly(t, peer)
	})
}

// readSlowly reads heldBytes and FIN, in a time longer than LingerTimeout, while the peer keeps sending.
func readSlowly(t *testing.T, peer tcpConn) {
	done := make(chan struct{})
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		for {
			select {
			case <-done:
				return
			case <-time.After(10 * time.Millisecond):
				peer.Write([]byte("?"))
			}
		}
	}()
	begun, got := time.Now(), 0
	b := make([]byte, 16<<10)
	for {
		time.Sleep(500 * time.Millisecond) // the pace of the peer: longer than LingerTimeout for all, shorter for each part
		n, err := peer.Read(b)
		got += n
		if err == io.EOF && got == heldBytes {
			break
		}
		if err != nil {
			t.Errorf("after %v: read %d of %d bytes, then %v", time.Since(begun), got, heldBytes, err)
			break
		}
	}
	close(done)
	<-stopped
}

// L8: a peer that reads nothing, or has read everything and does not close its side, does not keep
// Shutdown waiting for longer than LingerTimeout and a second.
func TestL8ShutdownDoesNotWaitForever(t *testing.T) {
	const linger = 5 * time.Second
	testSimulated(t, "reads nothing", func(t *testing.T) {
		begun := time.Now()
		g, _ := lingeringConn(t, loop.Config{LingerTimeout: linger})
		if err := <-shutDown(g); err != nil {
			t.Errorf("Shutdown: %v", err)
		}
		if took := time.Since(begun); took < linger || took > linger+time.Second+resolution {
			t.Errorf("Shutdown took %v, want %v, and a second more at most", took, linger)
		}
	})
	testSimulated(t, "does not close", func(t *testing.T) {
		begun := time.Now()
		g, peer := lingeringConn(t, loop.Config{LingerTimeout: linger})
		shut := shutDown(g)
		if n, err := io.Copy(io.Discard, peer); n != heldBytes || err != nil {
			t.Errorf("read %d bytes, %v, want %d", n, err, heldBytes)
		}
		if err := <-shut; err != nil {
			t.Errorf("Shutdown: %v", err)
		}
		if took := time.Since(begun); took < time.Second || took > 2*time.Second {
			t.Errorf("Shutdown took %v, want a second", took)
		}
	})
}
