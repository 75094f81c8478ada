package main

import (
	"errors"
	"sync"

	"github.com/pollux-io/pollux/examples/websocket/internal/websocket"
	"github.com/pollux-io/pollux/loop"
)

// hub has the rooms that have members.
type hub struct {
	config loop.FanoutConfig

	mu    sync.Mutex
	rooms map[string]*room
}

// room is a set of clients that get each message of one of them.
type room struct{ members *loop.Fanout }

func (h *hub) init(s *server) {
	h.rooms = map[string]*room{}
	h.config = loop.FanoutConfig{MaxUnsentBytes: s.maxUnsentBytes, Slow: s.slow}
}

// join makes a client a member of the room of its session.
func (h *hub) join(c *loop.Conn, s *session) {
	h.mu.Lock()
	defer h.mu.Unlock()
	r := h.rooms[s.name]
	if r == nil {
		r = &room{loop.NewFanout(h.config)}
		h.rooms[s.name] = r
	}
	s.room = r
	r.members.Add(c) // it fails only if c is being closed: then Closed follows
}

// leave ends the membership of a client, if it is a member: no message is written to it any more.
func (h *hub) leave(c *loop.Conn, s *session) {
	if s.room == nil {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	s.room.members.Remove(c)
	if s.room.members.Len() == 0 && h.rooms[s.name] == s.room {
		delete(h.rooms, s.name)
	}
	s.room = nil
}

// broadcast sends a message to all members. Its frame is encoded once, and in memory once: it is
// freed when the last member has taken it.
func (r *room) broadcast(m websocket.Message) error {
	frame := websocket.AppendFrame(make([]byte, 0, websocket.MaxHeaderBytes+len(m.Payload)), m.Opcode, m.Payload)
	err := r.members.Send(loop.NewShared(frame))
	if errors.Is(err, loop.ErrQueueFull) {
		return &websocket.Error{Code: websocket.TryAgainLater, Reason: "the room gets more messages than its members can be sent"}
	}
	return err
}

// slow is called for each message that a member does not get, because too much is unsent to it. The
// policy is to close the connection, with the reason behind what is unsent, or to skip the message.
// A client that reads on gets the reason; one that does not is reset after the loop's LingerTimeout.
func (s *server) slow(c *loop.Conn, _ *loop.Shared) {
	s.stats.slow.Add(1)
	if s.skipSlow {
		return
	}
	c.CloseWith(c.Handler().(*session).fail(c, errSlow))
}

var errSlow = &websocket.Error{Code: websocket.PolicyViolation, Reason: "the client reads too slowly"}

// counts returns the number of rooms, of their members, and of the bytes that loops have not
// written to all members yet.
func (h *hub) counts() (rooms, members, pendingBytes int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, r := range h.rooms {
		s := r.members.Stats()
		members += s.Members
		pendingBytes += s.PendingBytes
	}
	return len(h.rooms), members, pendingBytes
}
