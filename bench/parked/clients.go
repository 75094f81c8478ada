package main

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"
)

// clients are keep-alive connections to a server.
type clients struct{ conns []net.Conn }

// maxActive is how many connections have requests in progress at a time.
const maxActive = 64

// requestTimeout bounds each exchange.
const requestTimeout = time.Minute

// newClients opens n connections, maxActive at a time, and makes a request on each as soon as it is open, as clients of HTTP
// do.
func newClients(addr string, n int) (*clients, error) {
	c := &clients{make([]net.Conn, n)}
	err := c.each(func(i int, in *bufio.Reader) (err error) {
		if c.conns[i], err = net.DialTimeout("tcp", addr, requestTimeout); err != nil {
			return err
		}
		in.Reset(c.conns[i])
		return plain.on(c.conns[i], in, i)
	})
	if err != nil {
		c.close()
		return nil, err
	}
	return c, nil
}

func (c *clients) close() {
	for _, nc := range c.conns {
		if nc != nil {
			nc.Close()
		}
	}
}

// An exchange is what a connection sends, in parts, and the bodies of the responses. {i} is the number of the connection.
type exchange struct {
	name    string
	parts   []string
	answers []string
}

var (
	plain     = exchange{"a request", []string{"GET /{i} HTTP/1.1\r\nHost: h\r\n\r\n"}, []string{"/{i} "}}
	split     = exchange{"a split request", []string{"GE", "T /{i} HT", "TP/1.1\r\n", "Host: h\r\n\r", "\n"}, []string{"/{i} "}}
	pipelined = exchange{"pipelined requests", []string{"GET /1/{i} HTTP/1.1\r\nHost: h\r\n\r\nGET /2/{i} HTTP/1.1\r\nHost: h\r\n\r\n"}, []string{"/1/{i} ", "/2/{i} "}}
	body      = exchange{"a request with a body", []string{"POST /{i} HTTP/1.1\r\nHost: h\r\nContent-Length: 2000\r\n\r\n" + strings.Repeat("x", 2000)}, []string{"/{i} " + strings.Repeat("x", 2000)}}
)

// exchange makes an exchange on each connection, and checks the answers. It returns the first error.
func (c *clients) exchange(x exchange) error {
	return c.each(func(i int, in *bufio.Reader) error {
		in.Reset(c.conns[i])
		return x.on(c.conns[i], in, i)
	})
}

// each calls f for the number of each connection, maxActive at a time, with a reader for it to use. It returns the first error.
func (c *clients) each(f func(i int, in *bufio.Reader) error) error {
	next := make(chan int)
	errs := make(chan error, maxActive)
	var wg sync.WaitGroup
	for range maxActive {
		wg.Go(func() {
			in := bufio.NewReader(nil)
			for i := range next {
				if err := f(i, in); err != nil {
					errs <- fmt.Errorf("connection %d: %w", i, err)
					return
				}
			}
		})
	}
	var err error
	for i := 0; i < len(c.conns) && err == nil; i++ {
		select {
		case next <- i:
		case err = <-errs:
		}
	}
	close(next)
	wg.Wait()
	close(errs)
	if err == nil {
		err = <-errs
	}
	return err
}

// on makes the exchange on connection number i, which in reads.
func (x exchange) on(nc net.Conn, in *bufio.Reader, i int) error {
	number := func(s string) string { return strings.ReplaceAll(s, "{i}", fmt.Sprint(i)) }
	nc.SetDeadline(time.Now().Add(requestTimeout))
	for _, part := range x.parts {
		if _, err := io.WriteString(nc, number(part)); err != nil {
			return err
		}
	}
	for _, want := range x.answers {
		resp, err := http.ReadResponse(in, nil)
		if err != nil {
			return err
		}
		got, err := io.ReadAll(resp.Body)
		if err != nil || string(got) != number(want) {
			return fmt.Errorf("the response is %q (%v), want %q", got, err, number(want))
		}
	}
	if in.Buffered() > 0 {
		return fmt.Errorf("%d bytes follow the responses", in.Buffered())
	}
	return nil
}
