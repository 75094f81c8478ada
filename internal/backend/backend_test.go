package backend

import (
	"errors"
	"strings"
	"syscall"
	"testing"
)

var errMissing = errors.New("the kernel has no such call")

// fake is a candidate whose probe returns *err.
func fake(name string, err *error) *Candidate {
	return &Candidate{Name: name, Probe: func() error { return *err }, Note: func() string { return name + " works" }}
}

func set(errs ...error) *Set {
	s := &Set{User: "a test", Advice: "; try another"}
	for i, name := range []string{"good", "fair"} {
		s.Candidates = append(s.Candidates, fake(name, &errs[i]))
	}
	extra := fake("extra", new(error))
	extra.OnRequest = true
	s.Candidates = append(s.Candidates, extra)
	return s
}

func TestChoose(t *testing.T) {
	for _, c := range []struct {
		what        string
		good, fair  error
		env, option string
		want        string
		is          error // nil if want is chosen
		text        string
	}{
		{what: "the best", want: "good"},
		{what: "the best usable", good: errMissing, want: "fair"},
		{what: "none is usable", good: errMissing, fair: errMissing, is: ErrUnavailable, text: "good: the kernel has no such call; fair"},
		{what: "out of descriptors", good: syscall.EMFILE, is: syscall.EMFILE, text: "good: "},
		{what: "by option", option: "fair", want: "fair"},
		{what: "on request", option: "extra", want: "extra"},
		{what: "the environment overrides the option", option: "good", env: "fair", want: "fair"},
		{what: "an unusable one by option", good: errMissing, option: "good", is: ErrUnavailable, text: `"good" (from the option)`},
		{what: "an unusable one by environment", fair: errMissing, option: "good", env: "fair", is: ErrUnavailable, text: `"fair" (from POLLUX_BACKEND)`},
		{what: "by name, out of descriptors", fair: syscall.EMFILE, option: "fair", is: syscall.EMFILE},
		{what: "an unknown option", option: "x", is: ErrUnavailable, text: `"x" (from the option): a test in this build can use good, fair, extra; try another`},
		{what: "an unknown option that the environment overrides", option: "x", env: "good", is: ErrUnavailable, text: `"x" (from the option)`},
		{what: "an unknown environment", option: "good", env: "y", is: ErrUnavailable, text: `"y" (from POLLUX_BACKEND)`},
	} {
		t.Run(c.what, func(t *testing.T) {
			t.Setenv(Env, c.env)
			choice, err := set(c.good, c.fair).Choose(c.option, "the option")
			if !errors.Is(err, c.is) || choice.Name != c.want {
				t.Fatalf("Choose = %q, %v; want %q, %v", choice.Name, err, c.want, c.is)
			}
			if err != nil && !strings.Contains(err.Error(), c.text) {
				t.Errorf("%q does not contain %q", err, c.text)
			}
			if c.is == syscall.EMFILE && errors.Is(err, ErrUnavailable) {
				t.Errorf("%v: a transient error makes the backend unavailable", err)
			}
		})
	}
}

func TestProbe(t *testing.T) {
	for _, c := range []struct {
		what       string
		good, fair error
		isDefault  string
	}{
		{"all are usable", nil, nil, "good"},
		{"the best is not", errMissing, nil, "fair"},
		{"the best is out of descriptors", syscall.EMFILE, nil, ""},
		{"none is", errMissing, errMissing, ""},
	} {
		t.Run(c.what, func(t *testing.T) {
			for i, info := range set(c.good, c.fair).Probe() {
				err := []error{c.good, c.fair, nil}[i]
				why := info.Name + " works"
				if err != nil {
					why = err.Error()
				}
				if want := (Info{Name: info.Name, Usable: err == nil, Default: info.Name == c.isDefault, Why: why}); info != want {
					t.Errorf("%+v, want %+v", info, want)
				}
			}
		})
	}
}

// A result is cached, a transient error is not.
func TestProbeIsCached(t *testing.T) {
	t.Setenv(Env, "")
	for _, transient := range []error{syscall.EMFILE, syscall.ENOMEM, syscall.EAGAIN} { // EAGAIN: io_uring_enter(2)
		err := transient
		s := &Set{Candidates: []*Candidate{fake("good", &err)}}
		if _, got := s.Choose("", ""); !errors.Is(got, transient) {
			t.Errorf("Choose: %v, want %v", got, transient)
		}
		if _, got := s.Choose("good", "the option"); !errors.Is(got, transient) || errors.Is(got, ErrUnavailable) {
			t.Errorf("Choose by name: %v, want %v and not ErrUnavailable", got, transient)
		}
		err = nil
		for range 2 {
			if _, got := s.Choose("good", "the option"); got != nil {
				t.Errorf("Choose after %v has passed: %v", transient, got)
			}
			err = errMissing // not asked again
		}
	}
}

// Only the backends that may be used are probed.
func TestOthersAreNotProbed(t *testing.T) {
	t.Setenv(Env, "")
	probed := map[string]bool{}
	s := set(errMissing, nil)
	for _, c := range s.Candidates {
		probe := c.Probe
		c.Probe = func() error { probed[c.Name] = true; return probe() }
	}
	s.Choose("", "")
	if !probed["good"] || !probed["fair"] || probed["extra"] {
		t.Errorf("probed: %v, want good and fair", probed)
	}
}
