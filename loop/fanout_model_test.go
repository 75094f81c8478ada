package loop_test

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/pollux-io/pollux/internal/testkit"
	"github.com/pollux-io/pollux/loop"
)

// The model of a Fanout: goroutines send, connections join and leave all the time, some end, some do
// not read. Each peer checks what it gets against the witness, a member from the beginning that gets
// everything: between the two marks that a connection writes before Add and after Remove, it gets
// messages that the witness got one after the other.

const (
	fanoutSenders = 3
	fanoutLimit   = 1 << 20 // MaxUnsentBytes
)

// A record is the sender, the number and the length of a message, and so many bytes.
const recordHeader = 1 + 4 + 4

const (
	markJoins = 200 + iota // senders of the marks
	markLeaves
)

type messageID struct {
	sender byte
	n      uint32
}

type fanoutModel struct {
	t       *testing.T
	f       *loop.Fanout
	readers []*loop.Conn // which must not become slow
	begun   [fanoutSenders]atomic.Int64
	ended   [fanoutSenders]atomic.Int64
	freed   atomic.Int64
	stop    chan struct{}
}

// session is a membership: how many messages each sender had sent around the call of Add.
type session struct {
	ended, begun [fanoutSenders]int64
	got          []messageID
	removed      bool
}

func newRecord(sender byte, n uint32, length int) []byte {
	b := append(make([]byte, 0, recordHeader+length), sender)
	b = binary.BigEndian.AppendUint32(b, n)
	b = binary.BigEndian.AppendUint32(b, uint32(length))
	for range length {
		b = append(b, byte(n))
	}
	return b
}

// send sends messages until stop, as fast as the readers read.
func (m *fanoutModel) send(sender byte, total int) {
	r := rand.New(rand.NewPCG(uint64(sender), 1))
	for n := range uint32(total) {
		ready := func() bool {
			for _, c := range m.readers {
				if c.Unsent() > fanoutLimit/4 {
					return false
				}
			}
			return m.f.Stats().PendingBytes < fanoutLimit/4
		}
		if !testkit.Eventually(ready) {
			m.t.Errorf("the readers do not read: %+v", m.f.Stats())
			return
		}
		length := r.IntN(100)
		if n%8 == 0 {
			length = r.IntN(20 << 10)
		}
		var freed atomic.Bool
		s := loop.NewSharedFunc(newRecord(sender, n, length), func() {
			if freed.Swap(true) {
				m.t.Error("the function of NewSharedFunc was called twice")
			}
			m.freed.Add(1)
		})
		m.begun[sender].Add(1)
		if err := m.f.Send(s); err != nil {
			m.t.Errorf("Send: %v", err)
		}
		m.ended[sender].Add(1)
		s.Release()
	}
}

// join writes a mark, and makes c a member.
func (m *fanoutModel) join(c *loop.Conn) *session {
	x := &session{}
	c.Write(newRecord(markJoins, 0, 0))
	for i := range x.ended {
		x.ended[i] = m.ended[i].Load()
	}
	if err := m.f.Add(c); err != nil {
		m.t.Errorf("Add: %v", err)
	}
	for i := range x.begun {
		x.begun[i] = m.begun[i].Load()
	}
	return x
}

// churn makes c a member again and again.
func (m *fanoutModel) churn(c *loop.Conn, seed uint64) (all []*session) {
	r := rand.New(rand.NewPCG(seed, 2))
	for {
		x := m.join(c)
		all = append(all, x)
		select {
		case <-m.stop:
			return all
		default:
		}
		n, stopped := m.ended[0].Load()+r.Int64N(40), false
		testkit.Eventually(func() bool {
			select {
			case <-m.stop:
				stopped = true
			default:
			}
			return stopped || m.ended[0].Load() >= n
		})
		if stopped {
			return all
		}
		if !m.f.Remove(c) {
			m.t.Error("Remove of a member returned false")
		}
		x.removed = true
		c.Write(newRecord(markLeaves, 0, 0))
	}
}

// read reads records until the end of the stream, and returns the messages of each session.
func (m *fanoutModel) read(r io.Reader) (sessions [][]messageID, err error) {
	b := bufio.NewReaderSize(r, 64<<10)
	var header [recordHeader]byte
	member := false
	body := make([]byte, 32<<10)
	for {
		if _, err := io.ReadFull(b, header[:]); err != nil {
			return sessions, err
		}
		id := messageID{header[0], binary.BigEndian.Uint32(header[1:])}
		length := binary.BigEndian.Uint32(header[5:])
		if length > 20<<10 {
			return sessions, fmt.Errorf("a record has %d bytes: the stream is damaged", length)
		}
		if _, err := io.ReadFull(b, body[:length]); err != nil {
			return sessions, err
		}
		for _, x := range body[:length] {
			if x != byte(id.n) {
				return sessions, errors.New("the bytes of a message are wrong")
			}
		}
		switch {
		case id.sender == markJoins:
			sessions, member = append(sessions, nil), true
		case id.sender == markLeaves:
			member = false
		case !member:
			return sessions, fmt.Errorf("message %v was written after Remove", id)
		default:
			sessions[len(sessions)-1] = append(sessions[len(sessions)-1], id)
		}
	}
}

// checkRun checks that messages follow each other as in the witness's order.
func checkRun(t *testing.T, who string, order map[messageID]int, got []messageID) {
	t.Helper()
	for i := 1; i < len(got); i++ {
		if order[got[i]] != order[got[i-1]]+1 {
			t.Errorf("%s: message %v follows %v; they are number %d and %d of the witness", who, got[i], got[i-1], order[got[i]], order[got[i-1]])
			return
		}
	}
}

// checkSession checks where a session begins and ends, for each sender.
func (m *fanoutModel) checkSession(who string, x *session, all []messageID) {
	m.t.Helper()
	var first, last [fanoutSenders]int64
	for i := range first {
		first[i], last[i] = -1, -1
	}
	for _, id := range x.got {
		if first[id.sender] < 0 {
			first[id.sender] = int64(id.n)
		}
		last[id.sender] = int64(id.n)
	}
	for i := range first {
		switch {
		case first[i] >= 0 && first[i] < x.ended[i]:
			m.t.Errorf("%s: got message %d of sender %d, whose Send had returned before Add", who, first[i], i)
		case first[i] > x.begun[i]:
			m.t.Errorf("%s: the first message of sender %d is %d, and %d was sent after Add", who, i, first[i], x.begun[i])
		case !x.removed && last[i] != m.begun[i].Load()-1 && x.begun[i] < m.begun[i].Load():
			m.t.Errorf("%s: the last message of sender %d is %d, want %d", who, i, last[i], m.begun[i].Load()-1)
		}
	}
}

// Members get every message from Add to Remove or to their end, in one order, whatever others do.
func TestL3FanoutModel(t *testing.T) {
	total := 400
	if testing.Short() || testkit.Race {
		total = 100
	}
	config := loop.Config{Loops: 2}
	groups := []*loop.Group{group(t, config), group(t, config)}
	m := &fanoutModel{t: t, stop: make(chan struct{}), f: loop.NewFanout(loop.FanoutConfig{MaxUnsentBytes: fanoutLimit})}
	const steady, churning, ending, silent = 5, 8, 6, 3
	var all []member
	for i := range groups {
		all = append(all, acceptN(t, groups[i], (steady+churning+ending+silent)/2)...)
	}
	rand.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	for _, x := range all[:steady+churning] {
		m.readers = append(m.readers, x.c)
	}

	results := make([][]*session, len(all))
	streams := make([][][]messageID, len(all))
	var reading, changing, sending sync.WaitGroup
	for i, x := range all[:len(all)-silent] {
		reading.Go(func() {
			defer x.peer.Close()
			var err error
			if streams[i], err = m.read(x.peer); i < steady+churning && err != io.EOF {
				t.Errorf("connection %d: %v", i, err)
			}
		})
	}
	for i, x := range all {
		if i < steady || i >= steady+churning {
			results[i] = []*session{m.join(x.c)}
		} else {
			changing.Go(func() { results[i] = m.churn(x.c, uint64(i)) })
		}
	}
	for i := range fanoutSenders {
		sending.Go(func() { m.send(byte(i), total) })
	}
	changing.Go(func() { m.endSome(all[steady+churning:len(all)-silent], total) })
	sending.Wait()
	close(m.stop)
	changing.Wait()
	m.awaitDelivery()
	for _, x := range all[:len(all)-silent] {
		x.c.Close()
	}
	reading.Wait()
	m.compare(all, results, streams, steady, churning, ending)
	for i, x := range all[len(all)-silent:] {
		x.peer.Close()
		receive(t, x.closed, fmt.Sprintf("the end of silent connection %d", i))
	}
	if s := m.f.Stats(); s.Members != 0 || s.PendingMessages != 0 || s.PendingBytes != 0 || m.f.Len() != 0 {
		t.Errorf("after the end of all connections: %+v", s)
	}
	if !testkit.Eventually(func() bool { return m.freed.Load() == int64(fanoutSenders*total) }) {
		t.Errorf("%d messages were freed, want %d", m.freed.Load(), fanoutSenders*total)
	}
}

// endSome ends connections in all the ways while messages are sent.
func (m *fanoutModel) endSome(some []member, total int) {
	for i, x := range some {
		testkit.Eventually(func() bool { return m.ended[0].Load() >= int64(total*i/len(some)) })
		switch i % 4 {
		case 0:
			x.c.Close()
		case 1:
			x.c.Abort()
		case 2:
			x.peer.Close()
		case 3:
			x.c.CloseWrite()
		}
	}
}

// awaitDelivery waits until nothing is pending.
func (m *fanoutModel) awaitDelivery() {
	if !testkit.Eventually(func() bool { return m.f.Stats().PendingMessages == 0 }) {
		m.t.Errorf("messages stay pending: %+v", m.f.Stats())
	}
}

func (m *fanoutModel) compare(all []member, results [][]*session, streams [][][]messageID, steady, churning, ending int) {
	t := m.t
	order := map[messageID]int{}
	for i, id := range streams[0][0] {
		order[id] = i
	}
	want := 0
	for i := range m.begun {
		want += int(m.begun[i].Load())
	}
	if len(order) != want {
		t.Fatalf("the witness got %d messages, want %d", len(order), want)
	}
	for i := range all[:steady+churning+ending] {
		if len(streams[i]) != len(results[i]) && i < steady+churning {
			t.Errorf("connection %d: %d sessions were read, want %d", i, len(streams[i]), len(results[i]))
			continue
		}
		for j, got := range streams[i] {
			who := fmt.Sprintf("connection %d, session %d of %d", i, j, len(results[i]))
			checkRun(t, who, order, got)
			if i < steady+churning {
				x := results[i][j]
				x.got = got
				m.checkSession(who, x, got)
			}
		}
	}
	for i, x := range all[:steady] {
		if why := receive(t, x.closed, "Closed"); why != nil {
			t.Errorf("connection %d has ended with %v", i, why)
		}
	}
}
