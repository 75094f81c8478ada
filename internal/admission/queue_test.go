package admission

import (
	"slices"
	"testing"
)

// The queue is first in, first out, except for those that are added at the front. Each is in it once.
func TestQueue(t *testing.T) {
	var q queue
	a, b, c := &Acceptor{}, &Acceptor{}, &Acceptor{}
	check := func(want ...*Acceptor) {
		t.Helper()
		if !slices.Equal(q.waiting, want) || q.hasWaiters() != (len(want) > 0) {
			t.Errorf("the queue is %p, hasWaiters = %t, want %p", q.waiting, q.hasWaiters(), want)
		}
	}
	check()
	q.add(a, false)
	q.add(b, false)
	q.add(c, true)
	check(c, a, b)
	q.add(b, true)
	q.add(c, false)
	check(c, a, b)
	q.remove(a)
	q.remove(a)
	check(c, b)
	for _, want := range []*Acceptor{c, b, nil} {
		if got := q.pop(); got != want {
			t.Errorf("pop returned %p, want %p", got, want)
		}
	}
	check()
	q.grant()
}
