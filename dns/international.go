package dns

import (
	"context"
	"errors"
	"fmt"

	"github.com/pollux-io/pollux/internal/idn"
	"github.com/pollux-io/pollux/internal/misuse"
)

// toASCII has lk look up the ASCII form of an international name. The answer, or the error, has the name as it
// was given. A name that has no ASCII form stays: begin fails for it.
func (lk *Lookup) toASCII() {
	ascii, err := idn.ToASCII(lk.name)
	if err != nil || ascii == lk.name {
		return
	}
	given, done := lk.name, lk.done
	lk.name = ascii
	lk.done = func(a Answer, err error) { done(named(given, a, err)) }
}

// lookupInternational is lookup for a name that is not in ASCII.
func (r *Resolver) lookupInternational(ctx context.Context, name string, t Type) (Answer, error) {
	ascii, err := idn.ToASCII(name)
	if err != nil {
		return Answer{}, r.failed(name, t, noASCIIForm(err))
	}
	a, err := r.lookup(ctx, ascii, t)
	return named(name, a, err)
}

// named returns the result of a lookup with another name. The error may be that of other lookups, too.
func named(name string, a Answer, err error) (Answer, error) {
	if e, ok := errors.AsType[*Error](err); ok {
		renamed := *e
		renamed.Name = name
		return a, &renamed
	}
	a.Name = name
	return a, err
}

// asciiOrGiven returns the ASCII form of a name, or the name as it is if it has none: then refuse has the reason.
func asciiOrGiven(name string) string {
	if ascii, err := idn.ToASCII(name); err == nil {
		return ascii
	}
	return name
}

func noASCIIForm(err error) error { return fmt.Errorf("%w: %w", misuse.ErrBadArgument, err) }

// internationalError returns why name, which is not in ASCII, has no ASCII form.
func internationalError(name string) error {
	_, err := idn.ToASCII(name)
	return noASCIIForm(err)
}
