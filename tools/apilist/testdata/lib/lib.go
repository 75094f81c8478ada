// Package lib has one of everything that the lists contain.
package lib

import "example.org/lib/internal/hidden"

const (
	Untyped       = 1 << 40
	Text          = "a \"text\""
	Half          = 0.5
	Typed   Level = 3
	private       = 1
)

var Default, ErrNone error

type (
	// Level has a value and a pointer method.
	Level uint8
	// Same is an alias of another type of the package, Words of one without a name.
	Same  = Level
	Words = []string
	// Hidden is an alias of an internal type.
	Hidden = hidden.Type
	// Callback has parameters with names.
	Callback func(name string, more ...Level) (n int, err error)
	// Pair is generic.
	Pair[K comparable, V any] struct {
		Key   K
		Value V
	}
	// Reader can be implemented by other packages, Sealed cannot.
	Reader interface {
		Read(b []byte) (n int, err error)
	}
	Sealed interface {
		Reader
		Close() error
		seal()
	}
	Number interface{ ~int | ~float64 }
	// Outer has fields, and the methods of what it embeds.
	Outer struct {
		Inner
		unexported
		Func    func(level Level) *Hidden
		private int
	}
	Inner      struct{ A, B map[string]*hidden.Other }
	unexported struct{}
	privateInt int
)

func New(name string, levels ...Level) (*Outer, error)       { return nil, nil }
func Map[T any, N Number](list []T, f func(item T) N) []N    { return nil }
func Leaks(o *hidden.Other)                                  {}
func privateFunc()                                           {}
func (l Level) String() string                               { return "" }
func (l *Level) Set(s string) error                          { return nil }
func (p *Pair[K, V]) Swap(other Pair[K, V]) (old Pair[K, V]) { return other }
func (Inner) Promoted()                                      {}
func (*unexported) AlsoPromoted()                            {}
func (Outer) private2()                                      {}
func (privateInt) Method()                                   {}
func FromHidden() hidden.Type                                { return hidden.Type{} }
