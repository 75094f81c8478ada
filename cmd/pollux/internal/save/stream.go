package save

import "io"

// A Stream is an Output for a single body that goes out as it comes. What has gone
// out cannot be taken back.
type Stream struct{ W io.Writer }

// Create implements Output.
func (s Stream) Create(int) (Body, error) { return &streamBody{w: s.W}, nil }

type streamBody struct {
	w    io.Writer
	sent bool
}

func (b *streamBody) Write(p []byte) (int, error) {
	b.sent = b.sent || len(p) > 0
	return b.w.Write(p)
}

func (b *streamBody) Commit() error { return nil }
func (b *streamBody) Abort() bool   { return !b.sent }
