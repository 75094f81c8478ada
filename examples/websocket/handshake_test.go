package main

import (
	"bufio"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/pollux-io/pollux/loop/looptest"
)

// A handshake and the frames behind it are handled wherever the stream is cut in two.
func TestHandshakeCutAtEveryByte(t *testing.T) {
	sent := request(echoPath) + string(text("hello")) + string(closing(1000, ""))
	bubble(t, looptest.Config{}, defaults, func(t *testing.T, s *simulation) {
		for cut := range len(sent) + 1 {
			conn := s.dial(t)
			io.WriteString(conn, sent[:cut])
			time.Sleep(time.Second)
			io.WriteString(conn, sent[cut:])
			c := &client{conn, bufio.NewReader(conn)}
			if r, err := http.ReadResponse(c.in, nil); err != nil || r.StatusCode != 101 {
				t.Fatalf("cut after %d bytes: %v, %v", cut, r, err)
			}
			c.expect(t, reply{opText, "hello"})
			c.expectClose(t, 1000)
			conn.Close()
		}
	})
}

// A client that does not complete its request, however it sends it, is closed at the timeout.
func TestHandshakeTimeout(t *testing.T) {
	bubble(t, looptest.Config{}, defaults, func(t *testing.T, s *simulation) {
		silent, slow := s.dial(t), s.dial(t)
		defer silent.Close()
		defer slow.Close()
		began, written := time.Now(), make(chan struct{})
		go func() {
			defer close(written)
			for _, b := range []byte(request(echoPath)) {
				if _, err := slow.Write([]byte{b}); err != nil {
					return
				}
				time.Sleep(time.Second)
			}
		}()
		for _, c := range []io.Reader{silent, slow} {
			n, err := c.Read(make([]byte, 1))
			if took := time.Since(began); n != 0 || err == nil || took < s.handshakeTimeout || took > s.handshakeTimeout+time.Second {
				t.Errorf("after %v: %d, %v", took, n, err)
			}
		}
		<-written
	})
}

// Requests that are not for a WebSocket of this server get a response that states why.
func TestRefusedHandshakes(t *testing.T) {
	o := defaults
	o.origins = []string{"https://friend.example"}
	bubble(t, looptest.Config{}, o, func(t *testing.T, s *simulation) {
		origin := func(o string) string {
			return strings.Replace(request(echoPath), "\r\nUpgrade", "\r\nOrigin: "+o+"\r\nUpgrade", 1)
		}
		for _, c := range []struct {
			request string
			status  int
		}{
			{request(echoPath), 101},
			{request("/hub/a?b=c"), 101},
			{request("/hub/" + strings.Repeat("a", maxRoomName)), 101},
			{request("/hub/" + strings.Repeat("a", maxRoomName+1)), 404},
			{request("/hub/"), 404},
			{request("/"), 404},
			{origin("http://server.example"), 101},
			{origin("https://SERVER.example"), 101},
			{origin("https://friend.example"), 101},
			{origin("http://friend.example"), 403},
			{origin("https://server.example:444"), 403},
			{origin("https://server.example.evil.example"), 403},
			{origin("null"), 403},
			{strings.Replace(origin("null"), "Host: server.example", "Host:", 1), 403},
			{"GET / HTTP/1.1\r\nHost: server.example\r\n\r\n", 426},
			{"\x16\x03\x01 a ClientHello\r\n\r\n", 400},
			{strings.Repeat("x", 8<<10), 431},
		} {
			conn := s.dial(t)
			io.WriteString(conn, c.request)
			r, err := http.ReadResponse(bufio.NewReader(conn), nil)
			if err != nil || r.StatusCode != c.status {
				t.Errorf("%.100q: %v, %v, want %d", c.request, r, err, c.status)
			} else if c.status != 101 {
				if _, err := io.ReadAll(r.Body); err != nil || !r.Close {
					t.Errorf("%.100q: the response has no end: %v", c.request, err)
				}
				if n, err := conn.Read(make([]byte, 1)); n != 0 || !errors.Is(err, io.EOF) {
					t.Errorf("%.100q: after the response: %d, %v, want the end", c.request, n, err)
				}
			}
			conn.Close()
		}
	})
}
