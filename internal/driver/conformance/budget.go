package conformance

var budgetTests = []test{
	{"other streams get their turn", small, othersTurn},
	{"one stream alone does not keep Turn", small, loneStream},
	{"an endless echo does not keep Turn", small, endlessEcho},
	{"data beyond the budget needs no new event", small, leftovers},
	{"pausing at the budget and resuming", small, stopAtBudget},
}

// othersTurn: three streams with much unread data take turns, in any order.
func othersTurn(h *harness) {
	var conns []*conn
	var order []int // streams, by upcall
	var sizes []int
	for i := range 3 {
		c, p := h.pair()
		if p.push(1<<20) < 4*h.config.BudgetBytes {
			h.Skipf("the system's buffers take only %d bytes: too few to exceed the budget", p.wrote)
		}
		c.onReceived = func(b []byte) bool {
			order = append(order, i)
			sizes = append(sizes, len(b))
			return true
		}
		c.attach()
		conns = append(conns, c)
	}
	for _, c := range conns {
		c.resume()
	}
	h.until("everything", func() bool {
		for _, c := range conns {
			if c.got < c.p.wrote {
				return false
			}
		}
		return true
	})
	left := make([]int, len(conns))
	for i, c := range conns {
		left[i] = c.p.wrote
	}
	// A stream may end a turn and begin the next one: twice the budget. The first stream may begin
	// before the driver sees the others.
	run := 0
	for i, stream := range order {
		if i > 0 && order[i-1] != stream {
			run = 0
		}
		run += sizes[i]
		left[stream] -= sizes[i]
		waiting := 0
		for other, n := range left {
			if other != stream && n > 0 {
				waiting++
			}
		}
		if waiting > 0 && run > 2*(h.config.BudgetBytes+h.config.ScratchBytes) {
			h.Fatalf("stream %d received %d bytes while %d others waited; BudgetBytes is %d", stream, run, waiting, h.config.BudgetBytes)
		}
	}
}

func loneStream(h *harness) {
	c, p := h.pair()
	p.push(1 << 20)
	c.attach()
	c.resume()
	for c.got < p.wrote {
		before := c.got
		if p.wrote < 2<<20 {
			p.push(1000) // an event for a stream that is already in line
		}
		h.turn(forever)
		if n := c.got - before; n > h.config.BudgetBytes+h.config.ScratchBytes {
			h.Fatalf("%d bytes in one turn; BudgetBytes is %d", n, h.config.BudgetBytes)
		}
	}
}

// endlessEcho: the peer sends more from inside each upcall.
func endlessEcho(h *harness) {
	c, p := h.pair()
	c.onReceived = func([]byte) bool {
		if p.wrote < len(text)-100_000 {
			p.push(10_000)
		}
		return true
	}
	c.attach()
	c.resume()
	p.write(10_000)
	h.until("the first bytes", func() bool { return c.got > 0 })
	before := c.got
	h.turn(forever)
	if n := c.got - before; n > 2*(h.config.BudgetBytes+h.config.ScratchBytes) {
		h.Errorf("%d bytes in one turn; BudgetBytes is %d", n, h.config.BudgetBytes)
	}
}

// leftovers: no new event reports the data beyond the budget.
func leftovers(h *harness) {
	for _, n := range []int{-1, 0, 1} {
		for _, unit := range []int{h.config.ScratchBytes, h.config.BudgetBytes, 2 * h.config.BudgetBytes} {
			c, p := h.pair()
			p.write(unit + n)
			c.attach()
			c.resume()
			h.until("all of it", func() bool { return c.got == p.wrote })
			p.write(unit + n)
			h.until("the same number again", func() bool { return c.got == p.wrote })
			p.write(unit + n)
			p.Close()
			h.until("the same again, and the end", func() bool { return c.got == p.wrote && c.ended != nil })
		}
	}
}

// stopAtBudget pauses a stream that is in line for its next turn, and resumes it there.
func stopAtBudget(h *harness) {
	c, p := h.pair()
	other, q := h.pair()
	other.attach()
	other.resume()
	p.push(1 << 20)
	c.attach()
	c.resume()
	for c.got < p.wrote {
		h.turn(forever)
		c.pause()
		h.turn(0)
		q.push(1000)
		if c.got%2 == 0 {
			h.turn(0)
		}
		c.resume()
	}
	h.until("the other stream's bytes", func() bool { return other.got == q.wrote })
}
