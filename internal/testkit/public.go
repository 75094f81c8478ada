package testkit

import (
	"reflect"
	"strings"
	"testing"
)

// CheckPublic checks that the exported methods and fields of the types, promoted ones included, mention
// no type of an internal package: users could otherwise call what only this module may. allowed are
// types that have a public alias.
func CheckPublic(t testing.TB, types, allowed []reflect.Type) {
	t.Helper()
	for _, typ := range types {
		for _, m := range []reflect.Type{typ, reflect.PointerTo(typ)} {
			for i := range m.NumMethod() {
				checkPublic(t, m.String()+"."+m.Method(i).Name, m.Method(i).Type, m, allowed)
			}
		}
		if typ.Kind() != reflect.Struct {
			continue
		}
		for i := range typ.NumField() {
			if f := typ.Field(i); f.IsExported() {
				checkPublic(t, typ.String()+"."+f.Name, f.Type, typ, allowed)
			}
		}
	}
}

// checkPublic reports an error if typ, the type of what, is made of a type of an internal package.
func checkPublic(t testing.TB, what string, typ, receiver reflect.Type, allowed []reflect.Type) {
	t.Helper()
	if typ == receiver {
		return
	}
	for _, a := range allowed {
		if typ == a {
			return
		}
	}
	if typ.PkgPath() != "" {
		if strings.Contains(typ.PkgPath(), "pollux/internal/") {
			t.Errorf("%s is public and mentions %v", what, typ)
		}
		return
	}
	switch typ.Kind() {
	case reflect.Func:
		for i := range typ.NumIn() {
			checkPublic(t, what, typ.In(i), receiver, allowed)
		}
		for i := range typ.NumOut() {
			checkPublic(t, what, typ.Out(i), receiver, allowed)
		}
	case reflect.Pointer, reflect.Slice, reflect.Array, reflect.Chan, reflect.Map:
		checkPublic(t, what, typ.Elem(), receiver, allowed)
	}
}
