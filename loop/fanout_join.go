package loop

// joined is a batch of several messages in one piece: copied once for all members, it leaves each of
// them as one buffer. Members that do not get the whole batch get its messages one by one.
type joined struct {
	shared Shared
	block  []byte
	l      *Loop
	free   func()
}

const (
	// maxJoinedBytes is the size of the largest batch that is joined. It saves the kernel an iovec
	// for each message, which is less, for long messages, than the copy takes.
	maxJoinedBytes = 16 << 10
	// maxSpareJoined is how many unused ones a loop keeps.
	maxSpareJoined = 64
)

// join copies a batch of n bytes, or returns nil if that does not save anything.
func (l *Loop) join(batch []*Shared, n, members int) *joined {
	if len(batch) < 2 || members < 2 || n > maxJoinedBytes {
		return nil
	}
	var j *joined
	if last := len(l.spareJoined) - 1; last >= 0 {
		j = l.spareJoined[last]
		l.spareJoined = l.spareJoined[:last]
	} else {
		j = &joined{l: l}
		j.free = j.freed
	}
	j.block = l.blocks.Get(n)
	b := j.block[:0]
	for _, s := range batch {
		b = append(b, s.Bytes()...)
	}
	j.shared.memory.Init(b, j.free)
	return j
}

// freed runs on the loop, when the batch is finished and no queue refers to it any more.
func (j *joined) freed() {
	j.l.blocks.Put(j.block)
	j.block = nil
	j.shared.memory.Init(nil, j.free)
	if len(j.l.spareJoined) < maxSpareJoined {
		j.l.spareJoined = append(j.l.spareJoined, j)
	}
}
