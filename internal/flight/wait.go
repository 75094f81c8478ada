package flight

import "context"

// Wait is Join for a goroutine that waits. If ctx ends first, Wait returns the cause of that as the
// error, at once.
func (g *Group[K, V]) Wait(ctx context.Context, k K, start Start[K, V]) (V, error) {
	if ctx.Err() != nil { // no query for nothing
		var none V
		return none, context.Cause(ctx)
	}
	type result struct {
		v   V
		err error
	}
	results := make(chan result, 1) // of the one callback, which must not block
	w, err := g.Join(k, func(v V, err error) { results <- result{v, err} }, start)
	if err != nil {
		var none V
		return none, err
	}
	select {
	case r := <-results:
		return r.v, r.err
	case <-ctx.Done():
	}
	w.Cancel(context.Cause(ctx)) // or the result is there, or on its way
	r := <-results
	return r.v, r.err
}
