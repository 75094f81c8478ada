package netconn_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"time"

	"github.com/pollux-io/pollux/dns"
	"github.com/pollux-io/pollux/internal/tlsengine/tlstest"
	"github.com/pollux-io/pollux/loop"
	"github.com/pollux-io/pollux/netconn"
)

// A server of net/http, and a client, on the loops of a group.
func Example() {
	g, err := loop.NewGroup(loop.Config{})
	if err != nil {
		log.Fatal(err)
	}
	defer g.Shutdown(context.Background())
	ln, err := netconn.Listen(g, "tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	server := &http.Server{
		Handler:           http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprintf(w, "hello %s\n", r.URL.Path[1:]) }),
		ReadHeaderTimeout: 10 * time.Second,
	}
	go server.Serve(ln)
	defer server.Shutdown(context.Background())

	transport := &http.Transport{DialContext: (&netconn.Dialer{Group: g}).DialContext}
	defer transport.CloseIdleConnections()
	resp, err := (&http.Client{Transport: transport}).Get("http://" + ln.Addr().String() + "/castor")
	if err != nil {
		log.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	fmt.Printf("%s%v\n", body, err)
	// Output:
	// hello castor
	// <nil>
}

// A server of net/http, and a client, with TLS on the loops: the connections have no goroutine for their records, and no buffers
// while they are idle.
func ExampleListenConfig() {
	certificate, roots := exampleCertificate()
	g, err := loop.NewGroup(loop.Config{})
	if err != nil {
		log.Fatal(err)
	}
	defer g.Shutdown(context.Background())
	lc := netconn.ListenConfig{Group: g, TLSConfig: &tls.Config{Certificates: []tls.Certificate{certificate}}}
	ln, err := lc.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	server := &http.Server{
		Handler:           http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprintf(w, "hello by %s\n", r.TLS.ServerName) }),
		ReadHeaderTimeout: 10 * time.Second,
	}
	go server.Serve(ln) // not ServeTLS: TLS is below the connections
	defer server.Shutdown(context.Background())

	d := &netconn.Dialer{Group: g, TLSConfig: &tls.Config{RootCAs: roots, ServerName: "server.example"}}
	transport := &http.Transport{DialTLSContext: d.DialContext}
	defer transport.CloseIdleConnections()
	resp, err := (&http.Client{Transport: transport}).Get("https://" + ln.Addr().String())
	if err != nil {
		log.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	fmt.Printf("%s%v\n", body, err)
	// Output:
	// hello by server.example
	// <nil>
}

// exampleCertificate returns the certificate of server.example, and the roots with which clients verify it.
func exampleCertificate() (tls.Certificate, *x509.CertPool) {
	id := tlstest.Identities()[0]
	return id.Certificate, id.Pool
}

// A server with a goroutine for each connection, as it is written for package net.
func ExampleListen() {
	g, err := loop.NewGroup(loop.Config{})
	if err != nil {
		log.Fatal(err)
	}
	defer g.Shutdown(context.Background())
	ln, err := netconn.Listen(g, "tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	defer ln.Close()
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return // the listener is closed
			}
			go func() {
				defer c.Close()
				io.Copy(c, c)
			}()
		}
	}()

	c, err := netconn.Dial(g, "tcp", ln.Addr().String())
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(time.Minute))
	fmt.Fprintln(c, "castor and pollux")
	line, err := bufio.NewReader(c).ReadString('\n')
	fmt.Printf("%q %v\n", line, err)
	// Output: "castor and pollux\n" <nil>
}

// A resolver for all connections of a client: it has a cache.
func ExampleDialer() {
	g, err := loop.NewGroup(loop.Config{})
	if err != nil {
		log.Fatal(err)
	}
	defer g.Shutdown(context.Background())
	resolver, err := dns.New(dns.Config{Group: g})
	if err != nil {
		log.Fatal(err)
	}
	defer resolver.Close()
	ln, err := netconn.Listen(g, "tcp", "localhost:0")
	if err != nil {
		log.Fatal(err)
	}
	defer ln.Close()

	_, port, _ := net.SplitHostPort(ln.Addr().String())
	d := netconn.Dialer{Group: g, Resolver: resolver, Timeout: 30 * time.Second}
	c, err := d.Dial("tcp4", net.JoinHostPort("server.localhost", port))
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()
	fmt.Println(c.RemoteAddr().Network(), c.RemoteAddr().String() == ln.Addr().String())
	// Output: tcp true
}

// Datagrams.
func ExampleListenPacket() {
	g, err := loop.NewGroup(loop.Config{})
	if err != nil {
		log.Fatal(err)
	}
	defer g.Shutdown(context.Background())
	p, err := netconn.ListenPacket(g, "udp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	defer p.Close()
	p.SetDeadline(time.Now().Add(time.Minute))
	if _, err := p.WriteTo([]byte("castor"), p.LocalAddr()); err != nil {
		log.Fatal(err)
	}
	b := make([]byte, 1500)
	n, from, err := p.ReadFrom(b)
	fmt.Println(string(b[:n]), from.String() == p.LocalAddr().String(), err)
	// Output: castor true <nil>
}
