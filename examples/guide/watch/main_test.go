//go:build unix && !solaris

// Package syscall has no Mkfifo on Solaris.

package main

import (
	"bufio"
	"context"
	"net"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

func TestNews(t *testing.T) {
	const readers = 3
	path := filepath.Join(t.TempDir(), "news")
	if err := syscall.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	pipe, err := openPipe(path)
	if err != nil {
		t.Fatal(err)
	}
	defer pipe.Close()
	g, ln, err := serve(pipe, "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer g.Shutdown(context.Background())
	var lines []*bufio.Reader
	for range readers {
		c, err := net.Dial("tcp", ln.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		c.SetDeadline(time.Now().Add(time.Minute))
		lines = append(lines, bufio.NewReader(c))
	}
	for g.Conns() < readers {
		time.Sleep(time.Millisecond)
	}
	for _, text := range []string{"first\n", "second\n"} {
		if err := os.WriteFile(path, []byte(text), 0); err != nil { // like echo text >path
			t.Fatal(err)
		}
		for i, r := range lines {
			if got, err := r.ReadString('\n'); got != text || err != nil {
				t.Fatalf("reader %d: %q, %v, want %q", i, got, err, text)
			}
		}
	}
}
