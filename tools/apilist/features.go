package main

import (
	"fmt"
	"go/constant"
	"go/types"
	"regexp"
	"slices"
	"strings"
)

// features returns the lines of a package, without their prefix.
func features(p listed) []string {
	w := &writer{listed: p}
	scope := p.types.Scope()
	for _, name := range scope.Names() {
		o := scope.Lookup(name)
		if !o.Exported() {
			continue
		}
		switch o := o.(type) {
		case *types.Const:
			w.constant(o)
		case *types.Var:
			w.line("var %s %s", name, w.typeString(o.Type()))
		case *types.Func:
			w.line("func %s%s", name, w.signature(o.Signature()))
		case *types.TypeName:
			w.typeName(o)
		}
	}
	return w.lines
}

type writer struct {
	listed
	lines []string
}

func (w *writer) line(format string, args ...any) {
	if line := fmt.Sprintf(format, args...); !slices.Contains(w.lines, line) {
		w.lines = append(w.lines, line)
	}
}

func (w *writer) constant(c *types.Const) {
	value := c.Val().ExactString()
	if c.Val().Kind() == constant.Float {
		value = c.Val().String() // not as a fraction
	}
	if b, ok := c.Type().(*types.Basic); ok && b.Info()&types.IsUntyped != 0 {
		w.line("const %s = %s", c.Name(), value)
		return
	}
	w.line("const %s %s = %s", c.Name(), w.typeString(c.Type()), value)
}

// typeName lists a type. An alias of an internal type is listed like a type of its own: users
// cannot see the difference.
func (w *writer) typeName(o *types.TypeName) {
	if o.IsAlias() && internalTarget(o) == nil {
		target := o.Type()
		if a, ok := target.(*types.Alias); ok {
			target = a.Rhs()
		}
		w.line("type %s = %s", o.Name(), w.typeString(target))
		return
	}
	named := types.Unalias(o.Type()).(*types.Named)
	name := o.Name() + w.typeParams(named.TypeParams())
	switch u := named.Underlying().(type) {
	case *types.Struct:
		w.structType(name, u)
	case *types.Interface:
		w.interfaceType(name, u)
		return // its methods are listed
	default:
		w.line("type %s %s", name, w.typeString(u))
	}
	w.methods(o.Name(), named)
}

func (w *writer) structType(name string, s *types.Struct) {
	w.line("type %s struct", name)
	for f := range s.Fields() {
		switch {
		case !f.Exported():
		case f.Embedded():
			w.line("type %s struct, embedded %s", name, w.typeString(f.Type()))
		default:
			w.line("type %s struct, %s %s", name, f.Name(), w.typeString(f.Type()))
		}
	}
}

func (w *writer) interfaceType(name string, i *types.Interface) {
	w.line("type %s interface", name)
	for m := range i.Methods() {
		if m.Exported() {
			w.line("type %s interface, %s%s", name, m.Name(), w.signature(m.Signature()))
		} else {
			w.line("type %s interface, unexported methods", name)
		}
	}
	for e := range i.EmbeddedTypes() {
		if _, ok := e.Underlying().(*types.Interface); !ok {
			w.line("type %s interface, %s", name, w.typeString(e)) // a constraint
		}
	}
}

// methods lists the exported methods of a type, those of embedded types included.
func (w *writer) methods(name string, t *types.Named) {
	values := types.NewMethodSet(t)
	for m := range types.NewMethodSet(types.NewPointer(t)).Methods() {
		f := m.Obj().(*types.Func)
		if !f.Exported() {
			continue
		}
		receiver := name + typeArgs(t.TypeParams())
		if values.Lookup(f.Pkg(), f.Name()) == nil {
			receiver = "*" + receiver
		}
		w.line("method (%s) %s%s", receiver, f.Name(), w.signature(m.Type().(*types.Signature)))
	}
}

// signature returns the types of a function's parameters and results. Their names are not part of
// the API.
func (w *writer) signature(s *types.Signature) string {
	var b strings.Builder
	b.WriteString(w.typeParams(s.TypeParams()) + "(")
	for i := range s.Params().Len() {
		if i > 0 {
			b.WriteString(", ")
		}
		t := s.Params().At(i).Type()
		if slice, ok := t.(*types.Slice); ok && s.Variadic() && i == s.Params().Len()-1 {
			b.WriteString("..." + w.typeString(slice.Elem()))
		} else {
			b.WriteString(w.typeString(t))
		}
	}
	b.WriteString(")")
	var results []string
	for r := range s.Results().Variables() {
		results = append(results, w.typeString(r.Type()))
	}
	switch len(results) {
	case 0:
	case 1:
		b.WriteString(" " + results[0])
	default:
		b.WriteString(" (" + strings.Join(results, ", ") + ")")
	}
	return b.String()
}

// typeParams returns type parameters with their constraints, in brackets.
func (w *writer) typeParams(list *types.TypeParamList) string {
	var params []string
	for p := range list.TypeParams() {
		params = append(params, p.Obj().Name()+" "+w.typeString(p.Constraint()))
	}
	return brackets(params)
}

// typeArgs returns the names of type parameters, in brackets.
func typeArgs(list *types.TypeParamList) string {
	var names []string
	for p := range list.TypeParams() {
		names = append(names, p.Obj().Name())
	}
	return brackets(names)
}

func brackets(list []string) string {
	if len(list) == 0 {
		return ""
	}
	return "[" + strings.Join(list, ", ") + "]"
}

// internalType finds the internal types in a type as qualify writes it.
var internalType = regexp.MustCompile(`\binternal/[\w/]+\.\w+`)

// typeString returns a type as users of the package write it: functions without the names of
// parameters, and internal types by their aliases.
func (w *writer) typeString(t types.Type) string {
	var s string
	switch t := t.(type) {
	case *types.Signature:
		return "func" + w.signature(t)
	case *types.Pointer:
		return "*" + w.typeString(t.Elem())
	case *types.Slice:
		return "[]" + w.typeString(t.Elem())
	default:
		s = types.TypeString(t, w.qualify)
	}
	return internalType.ReplaceAllStringFunc(s, func(name string) string {
		if public := w.names[name]; public != "" {
			return public
		}
		return name
	})
}

func (w *writer) qualify(p *types.Package) string {
	switch {
	case p == w.types:
		return ""
	case isInternal(p.Path()):
		return shortPath(p.Path())
	}
	return p.Name()
}
