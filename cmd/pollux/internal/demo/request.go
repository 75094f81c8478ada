package demo

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/pollux-io/pollux"
	"github.com/pollux-io/pollux/cmd/pollux/internal/wire"
)

// maxAnswerBytes is more than the slow server ever sends.
const maxAnswerBytes = 64 << 10

// A request is one of them. Answers are short, so they are kept whole and looked
// at when the server hangs up.
type request struct {
	run   *run
	call  *wire.Call
	delay time.Duration
	start time.Time
	got   []byte
	limit wire.Timer
}

func (q *request) token() pollux.Token {
	if q.call == nil {
		return 0
	}
	return q.call.Token()
}

// Connected implements wire.Handler.
func (q *request) Connected() {}

// Room implements wire.Handler.
func (q *request) Room() int { return maxAnswerBytes + 1 - len(q.got) }

// Received implements wire.Handler.
func (q *request) Received(b []byte) {
	q.got = append(q.got, b...)
	if len(q.got) > maxAnswerBytes {
		q.end(errors.New("the answer is too long"))
	}
}

// Ended implements wire.Handler.
func (q *request) Ended(err error) {
	if errors.Is(err, io.EOF) {
		err = check(q.got)
	}
	q.end(err)
}

func (q *request) end(err error) {
	q.call.Close()
	q.run.loop.Disarm(&q.limit)
	q.run.open--
	q.run.done(err, q)
	q.run.fill()
}

// check reports whether b is one whole answer that says OK.
func check(b []byte) error {
	resp, err := http.ReadResponse(bufio.NewReader(bytes.NewReader(b)), nil)
	if err != nil {
		return err
	}
	if _, err := io.Copy(io.Discard, resp.Body); err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("status %d", resp.StatusCode)
	}
	return nil
}
