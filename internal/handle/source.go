package handle

import "reflect"

// Source is a value with a Handle, which is for the packages of this module only: it embeds a Held.
// So pollux.Source is sealed, and no user of a socket can close its descriptor under it.
type Source interface{ handle() *Handle }

// Held is a Handle to embed in an exported type. It has no exported fields or methods, so the type does
// not get any.
type Held struct{ h Handle }

var _ Source = (*Held)(nil)

func (h *Held) handle() *Handle { return &h.h }

// In returns the Handle of h.
func In(h *Held) *Handle { return &h.h }

// Of returns the handle of a source, which must not be nil or a nil pointer.
func Of(s Source) *Handle { return s.handle() }

// OfAny returns the handle of a source, or nil if it is nil or a nil pointer.
func OfAny(s Source) *Handle {
	if IsNil(s) {
		return nil
	}
	return s.handle()
}

// IsNil reports whether x is nil or holds a nil pointer.
func IsNil(x any) bool {
	v := reflect.ValueOf(x)
	return !v.IsValid() || v.Kind() == reflect.Pointer && v.IsNil()
}
