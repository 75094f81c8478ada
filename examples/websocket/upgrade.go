package main

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/pollux-io/pollux/examples/websocket/internal/websocket"
	"github.com/pollux-io/pollux/loop"
)

// upgrade is the handler of all connections whose opening handshake is not done.
type upgrade struct{ *server }

func (u upgrade) Opened(c *loop.Conn) { c.SetReadDeadline(time.Now().Add(u.handshakeTimeout)) }

// Data waits for the whole request, and answers it. What follows the request is for the session.
func (u upgrade) Data(c *loop.Conn, b []byte) (consumed int, err error) {
	request, n, err := websocket.ParseRequest(b)
	if n == 0 && err == nil {
		return 0, nil
	}
	var s *session
	if err == nil {
		s, err = u.route(request)
	}
	if err != nil {
		u.stats.refused.Add(1)
		if refused := (*websocket.RequestError)(nil); errors.As(err, &refused) {
			c.Write(refused.AppendResponse(nil))
		}
		return len(b), err // closes, once the response is sent
	}
	if _, err := c.Write(websocket.AppendAccept(nil, request.Key)); err != nil {
		return n, err
	}
	c.SetReadDeadline(time.Time{})
	c.SetHandler(s)
	s.open(c)
	return n, nil
}

// Shutdown is called when the server shuts down.
func (u upgrade) Shutdown(c *loop.Conn) { c.Close() }

const (
	echoPath   = "/echo"
	roomPrefix = "/hub/"
	// maxRoomName is the length of the longest name of a room, in bytes.
	maxRoomName = 64
)

// route returns the session that a request asks for.
func (u upgrade) route(r websocket.Request) (*session, error) {
	if !u.allowsOrigin(r) {
		return nil, &websocket.RequestError{Status: http.StatusForbidden, Reason: "pages of this origin must not connect; the server's flag -origins allows others"}
	}
	if r.Path == echoPath {
		return newSession(u.server, ""), nil
	}
	if room, ok := strings.CutPrefix(r.Path, roomPrefix); ok && room != "" && len(room) <= maxRoomName {
		return newSession(u.server, room), nil
	}
	return nil, &websocket.RequestError{Status: http.StatusNotFound, Reason: fmt.Sprintf("the paths are %s and %sROOM, where ROOM has at most %d bytes", echoPath, roomPrefix, maxRoomName)}
}

// allowsOrigin reports whether the page may connect. Without this check, any page could use the
// server with the cookies, and from the network, of its visitor. Only browsers send an Origin.
func (u upgrade) allowsOrigin(r websocket.Request) bool {
	if r.Origin == "" || slices.Contains(u.origins, r.Origin) || slices.Contains(u.origins, "*") {
		return true
	}
	_, host, ok := strings.Cut(r.Origin, "://") // "null" has none
	return ok && strings.EqualFold(host, r.Host)
}
