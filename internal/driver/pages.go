package driver

// Pages is a list in pages of fixed size, so that entries do not move when it grows. A growing
// slice leaves its old array as garbage and has spare capacity of up to its length: in a list
// with an entry for each connection, both cost memory for each connection.
type Pages[T any] struct {
	pages []*[pageLen]T
	n     uint32
}

const (
	pageBits = 8
	pageLen  = 1 << pageBits
)

// Len returns the number of entries.
func (p *Pages[T]) Len() uint32 { return p.n }

// At returns a pointer to entry i, which must be less than Len. The pointer stays valid until
// the entry is removed.
func (p *Pages[T]) At(i uint32) *T { return &p.pages[i>>pageBits][i&(pageLen-1)] }

// Append adds an entry, and returns its index.
func (p *Pages[T]) Append(x T) uint32 {
	i := p.n
	if i>>pageBits == uint32(len(p.pages)) {
		p.pages = append(p.pages, new([pageLen]T))
	}
	p.n++
	*p.At(i) = x
	return i
}

// RemoveLast removes the last entry. It frees the last page if that and the page before it are
// empty.
func (p *Pages[T]) RemoveLast() {
	p.n--
	var zero T
	*p.At(p.n) = zero
	if last := len(p.pages) - 1; p.n+pageLen == uint32(last)<<pageBits {
		p.pages[last] = nil
		p.pages = p.pages[:last]
	}
}
