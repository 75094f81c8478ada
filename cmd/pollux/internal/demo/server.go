package demo

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/pollux-io/pollux/loop"
)

// runServer runs the slow server on the loopback address, prints its address, and ends at the
// end of in.
func runServer(in io.Reader, out io.Writer) error {
	g, err := loop.NewGroup(loop.Config{Loops: 1})
	if err != nil {
		return err
	}
	defer func() {
		ended, cancel := context.WithCancel(context.Background())
		cancel() // open connections are aborted
		g.Shutdown(ended)
	}()
	l, err := g.Listen("tcp", "127.0.0.1:0", func(*loop.Conn) loop.Handler { return &slowAnswer{} })
	if err != nil {
		return err
	}
	if _, err := fmt.Fprintln(out, l.Addr()); err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, in)
	return err
}

// maxHead is the longest head of a request.
const maxHead = 4 << 10

var (
	headEnd    = []byte("\r\n\r\n")
	errTooLong = errors.New("the request is too long")
	errNoDelay = errors.New("the path has no delay, such as /300ms")
)

// A slowAnswer answers the single request of its connection after the delay in its path,
// such as /300ms.
type slowAnswer struct{ asked bool }

// Data implements loop.Handler.
func (s *slowAnswer) Data(c *loop.Conn, b []byte) (int, error) {
	switch {
	case s.asked: // only one request is answered
		return len(b), nil
	case !bytes.Contains(b, headEnd) && len(b) <= maxHead:
		return 0, nil
	case !bytes.Contains(b, headEnd):
		return 0, errTooLong
	}
	s.asked = true
	line, _, _ := strings.Cut(string(b), "\r\n")
	asked, ok := strings.CutPrefix(line, "GET /")
	asked, _, _ = strings.Cut(asked, " ")
	delay, err := time.ParseDuration(asked)
	if !ok || err != nil || delay < 0 {
		return 0, errNoDelay
	}
	c.Loop().AfterFunc(delay, func() {
		c.Write(answer(delay)) // fails if the client has disconnected
		c.Close()
	})
	return len(b), nil
}

// path returns the path that requests a delay.
func path(delay time.Duration) string { return strconv.FormatInt(int64(delay), 10) + "ns" }

// answer returns an answer whose length depends on the delay.
func answer(delay time.Duration) []byte {
	body := "waited " + delay.String() + "\n" + strings.Repeat(".", int(delay/time.Millisecond)%1000) + "\n"
	return []byte("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nConnection: close\r\nContent-Length: " +
		strconv.Itoa(len(body)) + "\r\n\r\n" + body)
}
