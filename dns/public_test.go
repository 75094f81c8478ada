package dns_test

import (
	"reflect"
	"testing"

	"github.com/pollux-io/pollux/dns"
	"github.com/pollux-io/pollux/internal/testkit"
)

// No exported method or field leads to the internals of a resolver.
func TestNothingInternalIsPublic(t *testing.T) {
	testkit.CheckPublic(t, []reflect.Type{
		reflect.TypeFor[dns.Resolver](), reflect.TypeFor[dns.Config](), reflect.TypeFor[dns.Lookup](), reflect.TypeFor[dns.Answer](),
		reflect.TypeFor[dns.Record](), reflect.TypeFor[dns.Step](), reflect.TypeFor[dns.Error](), reflect.TypeFor[dns.Dialer](),
		reflect.TypeFor[dns.AttemptsError](), reflect.TypeFor[dns.Type](), reflect.TypeFor[dns.Path](), reflect.TypeFor[dns.Strategy](),
		reflect.TypeFor[dns.Plan](), reflect.TypeFor[dns.Stats](), reflect.TypeFor[dns.CacheStats](),
	}, nil)
}
