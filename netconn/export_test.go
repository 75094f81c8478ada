package netconn

// Bounds that tests check.
const (
	MaxUnreadBytes        = maxUnreadBytes
	MaxBacklog            = maxBacklog
	MaxQueuedBytes        = maxQueuedBytes
	DatagramOverheadBytes = datagramOverheadBytes
)

// Unread returns how many received bytes are unread.
func Unread(c *Conn) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.in == nil {
		return 0
	}
	return c.in.Len()
}

// Backlog returns how many connections wait for Accept.
func (l *Listener) Backlog() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.backlog)
}

// Of parking.
const (
	ParkAfter   = parkAfter
	SweepConns  = sweepConns
	ExpireConns = expireConns
)

// Candidates returns how many connections the next sweeps will visit.
func Candidates(l *Listener) (n int) {
	for _, p := range l.parkers {
		p.mu.Lock()
		n += len(p.candidates)
		p.mu.Unlock()
	}
	return n
}
