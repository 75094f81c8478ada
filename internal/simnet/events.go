package simnet

// events is a heap of what is scheduled, the next one first: ordered by time, and then by when it was
// scheduled. It is that of container/heap without its calls of methods, on which a simulation would
// spend a tenth of its time.
type events []scheduled

// A scheduled has the time of an event beside it, so that the heap need not follow the pointer to compare.
type scheduled struct {
	at    int64 // nanoseconds since the network began
	seq   uint64
	event *event
}

func (s *scheduled) before(o *scheduled) bool {
	return s.at < o.at || s.at == o.at && s.seq < o.seq
}

func (h *events) push(s scheduled) {
	*h = append(*h, s)
	h.up(len(*h)-1, s)
}

// remove removes an event that is scheduled.
func (h *events) remove(e *event) {
	i, last := e.index, len(*h)-1
	e.index = noIndex
	moved := (*h)[last]
	(*h)[last] = scheduled{}
	*h = (*h)[:last]
	if i == last {
		return
	}
	if i > 0 && moved.before(&(*h)[parent(i)]) {
		h.up(i, moved)
	} else {
		h.down(i, moved)
	}
}

func parent(i int) int { return (i - 1) / 2 }

// up puts s at i or above, where everything else is in order.
func (h *events) up(i int, s scheduled) {
	list := *h
	for i > 0 && s.before(&list[parent(i)]) {
		list[i] = list[parent(i)]
		list[i].event.index = i
		i = parent(i)
	}
	list[i] = s
	s.event.index = i
}

// down puts s at i or below, where everything else is in order.
func (h *events) down(i int, s scheduled) {
	list := *h
	for {
		child := 2*i + 1
		if child >= len(list) {
			break
		}
		if right := child + 1; right < len(list) && list[right].before(&list[child]) {
			child = right
		}
		if !list[child].before(&s) {
			break
		}
		list[i] = list[child]
		list[i].event.index = i
		i = child
	}
	list[i] = s
	s.event.index = i
}
