package driver

// Pages is a list in pieces of one size, so that it grows without moving. A slice that grows
// leaves behind as much as it has, and has room for as much again: of lists with an entry for
// each connection that is memory for each connection.
type Pages[T any] struct {
	pages []*[pageLen]T
	n     uint32
}

const (
	pageBits = 8
	pageLen  = 1 << pageBits
)

// Len returns how many entries there are.
func (p *Pages[T]) Len() uint32 { return p.n }

// At returns the entry i, below Len. It stays where it is.
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

// RemoveLast removes the last entry. A page that is empty then is given up if there is
// another before it.
func (p *Pages[T]) RemoveLast() {
	p.n--
	var zero T
	*p.At(p.n) = zero
	if last := len(p.pages) - 1; p.n+pageLen == uint32(last)<<pageBits {
		p.pages[last] = nil
		p.pages = p.pages[:last]
	}
}
