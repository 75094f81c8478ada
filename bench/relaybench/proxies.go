package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime/pprof"
	"strconv"
	"syscall"

	"github.com/pollux-io/pollux/loop"
)

// available returns the names of the proxies that can run here.
func available() []string {
	names := []string{"pollux-epoll"}
	for _, b := range loop.Backends() {
		if b.Name == "uring" && b.Usable {
			names = append(names, "pollux-uring")
		}
	}
	names = append(names, "net-splice", "net-copy")
	if _, err := exec.LookPath("haproxy"); err == nil {
		names = append(names, "haproxy")
	} else {
		fmt.Println("haproxy is not installed: it is left out")
	}
	return names
}

// command returns the command of a proxy.
func command(name, listen, to string) []string {
	var words []string
	if name == "haproxy" {
		file := filepath.Join(os.TempDir(), fmt.Sprintf("relaybench-%d.cfg", os.Getpid()))
		config := fmt.Sprintf(`global
	maxconn 7000
	nbthread 1
defaults
	mode tcp
	maxconn 7000
	timeout connect 10s
	timeout client 1h
	timeout server 1h
	option splice-request
	option splice-response
listen relay
	bind %s
	server one %s
`, listen, to)
		check(os.WriteFile(file, []byte(config), 0o600))
		words = []string{"haproxy", "-db", "-q", "-f", file}
	} else {
		self, err := os.Executable()
		check(err)
		words = []string{self, "-proxy", name, "-listen", listen, "-to", to}
		if *profDir != "" {
			words = append(words, "-cpuprofile", filepath.Join(*profDir, name+strconv.Itoa(nextPort)+".prof"))
		}
	}
	if *cpu >= 0 {
		words = append([]string{"taskset", "-c", strconv.Itoa(*cpu)}, words...)
	}
	return words
}

// serve is a proxy written in Go; it runs until SIGTERM.
func serve(name, listen, to string) error {
	ended, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	if *profile != "" {
		f, err := os.Create(*profile)
		if err != nil {
			return err
		}
		if err := pprof.StartCPUProfile(f); err != nil {
			return err
		}
	}
	var err error
	switch name {
	case "pollux-epoll", "pollux-uring":
		err = serveLoop(name[len("pollux-"):], listen, to)
	case "net-splice":
		err = serveNet(listen, to, func(dst, src *net.TCPConn) { io.Copy(dst, src) })
	case "net-copy":
		err = serveNet(listen, to, func(dst, src *net.TCPConn) {
			io.Copy(struct{ io.Writer }{dst}, struct{ io.Reader }{src})
		})
	default:
		err = fmt.Errorf("%s: not a proxy", name)
	}
	if err != nil {
		return err
	}
	<-ended.Done()
	pprof.StopCPUProfile()
	os.Exit(0)
	return nil
}

func serveLoop(backend, listen, to string) error {
	g, err := loop.NewGroup(loop.Config{Backend: backend})
	if err != nil {
		return err
	}
	relay, err := loop.RelayTo("tcp", to, loop.RelayConfig{})
	if err != nil {
		return err
	}
	_, err = g.Listen("tcp", listen, func(*loop.Conn) loop.Handler { return relay })
	return err
}

// serveNet copies with two goroutines for each client.
func serveNet(listen, to string, pass func(dst, src *net.TCPConn)) error {
	ln, err := net.Listen("tcp", listen)
	if err != nil {
		return err
	}
	relay := func(client *net.TCPConn) {
		defer client.Close()
		c, err := net.Dial("tcp", to)
		if err != nil {
			return
		}
		server := c.(*net.TCPConn)
		defer server.Close()
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			pass(client, server)
			client.CloseWrite()
		}()
		pass(server, client)
		server.CloseWrite()
		<-ended
	}
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			go relay(c.(*net.TCPConn))
		}
	}()
	return nil
}
