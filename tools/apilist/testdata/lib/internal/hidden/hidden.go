// Package hidden cannot be imported by users.
package hidden

type (
	Type  struct{ Field int }
	Other struct{}
)

func (t *Type) Method(other Type) {}
