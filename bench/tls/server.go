package main

import (
	"bufio"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"math/big"
	"net"
	"os"
	"runtime"
	"runtime/debug"
	"time"

	"github.com/pollux-io/pollux/bench/internal/proc"
	"github.com/pollux-io/pollux/loop"
	"github.com/pollux-io/pollux/tlsconn"
)

// netBufferBytes has the kinds of servers on package net: by the buffer of a connection's goroutine. 4 KiB is that of bufio; in
// 16 KiB a message of that size is answered at once.
var netBufferBytes = map[string]int{"net4": 4 << 10, "net16": 16 << 10}

// runServer is the child process. It prints its address, and for each line that it reads its memory: bytes of the heap and of
// stacks in use, and RssAnon.
func runServer(kind string) error {
	config, err := serverConfig()
	if err != nil {
		return err
	}
	address, err := listen(kind, config)
	if err != nil {
		return err
	}
	fmt.Println(address)
	for in := bufio.NewScanner(os.Stdin); in.Scan(); {
		debug.FreeOSMemory() // collects garbage, too
		debug.FreeOSMemory() // what finalizers and sync.Pool had kept
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		rss, err := proc.AnonBytes(os.Getpid())
		if err != nil {
			return err
		}
		fmt.Println(m.HeapAlloc+m.StackInuse, rss)
	}
	return nil
}

func serverConfig() (*tls.Config, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: []string{serverName}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, err
	}
	// Records are full from the beginning, so that connections of either kind have handled one.
	return &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}, DynamicRecordSizingDisabled: true}, nil
}

func listen(kind string, config *tls.Config) (address string, err error) {
	if kind == "loop" {
		g, err := loop.NewGroup(loop.Config{Loops: 1})
		if err != nil {
			return "", err
		}
		ln, err := g.Listen("tcp", "127.0.0.1:0", func(*loop.Conn) loop.Handler { return tlsconn.Server(config, echo{}) })
		if err != nil {
			return "", err
		}
		return ln.Addr().String(), nil
	}
	bufferBytes := netBufferBytes[kind]
	if bufferBytes == 0 {
		return "", fmt.Errorf("unknown kind of server %q", kind)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	go acceptAll(ln, config, bufferBytes)
	return ln.Addr().String(), nil
}

// echo is the server on a loop.
type echo struct{}

func (echo) Data(c *loop.Conn, b []byte) (int, error) {
	_, err := c.Write(b)
	return len(b), err
}

// acceptAll is the server on package net.
func acceptAll(ln net.Listener, config *tls.Config, bufferBytes int) {
	for {
		c, err := ln.Accept()
		if err != nil {
			return
		}
		go func() {
			defer c.Close()
			echoAll(tls.Server(c, config), make([]byte, bufferBytes))
		}()
	}
}

func echoAll(c *tls.Conn, b []byte) {
	for {
		n, err := c.Read(b)
		if err != nil {
			return
		}
		if _, err := c.Write(b[:n]); err != nil {
			return
		}
	}
}
