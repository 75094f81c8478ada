package dnstest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// A difference is one that is intended: in a variant, or in all if that is "", and of one job, or of all if what is "".
type difference struct {
	variant, what, name string
	questions           bool // the outcome is the same: only the questions to the servers differ
	unasked             bool // no server is asked
	reason              string
	found               bool
}

const (
	noName      = "package net calls a text that is no domain name a name that is not found; here the error states what is wrong with it"
	noHostName  = "package net does not ask for what it does not take for the name of a host; DNS takes any octets (RFC 2181, section 11)"
	onion       = "package net asks for names of .onion in the search list, or returns neither addresses nor an error; they are not found (RFC 7686)"
	unknownName = "package net reports what the last name of the search list has; that a name is not found is certain only if no server has failed"
	refused     = "what ends in a number, and the root, is no name of a host: the error states that, where package net does not find it"
	health      = "a server that has failed is asked last for a while"
	noEDNS      = "a server that does not respond may drop queries with EDNS: it is asked without, too"
	inlineOrder = "addresses that are known inline are in the order of the hosts file: to sort them costs system calls"
)

var differences = []*difference{
	{what: "ip", name: "", reason: noName},
	{what: "ip", name: "a..b", reason: noName},
	{what: "ip", name: ".a", reason: noName},
	{what: "ip", name: longLabel + "x.example.", reason: noName},
	{what: "ip", name: "1.2.3", unasked: true, reason: refused},
	{what: "ip", name: ".", unasked: true, reason: refused},
	{what: "ip", name: "-dash.example.", questions: true, reason: noHostName},
	{what: "ip", name: "a b.example.", questions: true, reason: noHostName},
	{what: "ip", name: `a\.b.example.`, questions: true, reason: noHostName},
	{what: "ip", name: "x.onion", reason: onion},
	{what: "ip", name: "broken", reason: unknownName},
	{what: "ip", name: "printer.example", reason: inlineOrder},
	{what: "ip", name: "printer.example.", reason: inlineOrder},
	{what: "ip", name: "localhost", reason: inlineOrder},
	{variant: "first is silent", questions: true, reason: health},
	{variant: "all are silent", questions: true, reason: noEDNS},
}

// Names and records are resolved as by Go's own resolver, which has the same servers and the same configuration: the same
// addresses in the same order, canonical names, records and kinds of errors, with the same questions to the same servers.
// What differs on purpose is in the list of differences.
func TestDifferentialWithGo(t *testing.T) {
	for _, program := range []string{"nsd", "unbound", "ip"} {
		path(t, program)
	}
	if !enterNamespace(t) {
		return
	}
	setUpNetwork(t)
	authority := startDaemon(t, nsd(t))
	recursive := startDaemon(t, unbound(t, authority.addr))
	log := &journal{}
	for addr, does := range map[string]behaviour{
		"127.0.0.1": forwards, "127.0.0.2": forwards, "::1": forwards, "127.0.0.3": isSilent, "127.0.0.5": fails,
	} { // nothing listens at 127.0.0.4
		s := &nameServer{addr: netip.AddrPortFrom(netip.MustParseAddr(addr), 53), upstream: recursive.addr, does: does, journal: log}
		s.start(t)
	}
	etc := t.TempDir()
	mountEtc(t, etc)
	for _, v := range variants() {
		t.Run(v.name, func(t *testing.T) {
			setFiles(t, etc, v.files)
			compareSides(t, &v, log)
		})
	}
	for _, d := range differences {
		if !d.found {
			t.Errorf("the difference %+v does not exist any more", *d)
		}
	}
}

func compareSides(t *testing.T, v *variant, log *journal) {
	ask := startSides(t)
	pooled := false
	jobs := v.jobs
	if len(jobs) == 0 {
		jobs = defaultJobs
	}
	for _, j := range jobs {
		var want outcome
		var wantAsked []string
		for _, side := range []string{sideGo, sideAuto, sideEvented} {
			log.cut()
			got := ask(job{Side: side, What: j[0], Name: j[1]})
			asked := log.cut()
			if v.rotates {
				for i := range asked {
					_, asked[i], _ = strings.Cut(asked[i], " ")
				}
				slices.Sort(asked)
			}
			switch {
			case side == sideGo:
				want, wantAsked = got, asked
				continue
			case side == sideEvented && v.autoOnly:
				continue
			}
			isPool := strings.HasPrefix(got.Detail, "pool")
			pooled = pooled || isPool
			if isPool && j[0] == "cname" { // the system's resolver does not state the canonical name
				got.Canonical = want.Canonical
			}
			if j[0] == "cname" { // package net asks for CNAME, too
				asked = wantAsked
			}
			fault := differs(&want, &got, wantAsked, asked)
			if fault == "" && isPool && !v.pool {
				fault = "the name is looked up by the pool"
			}
			if fault != "" && !isIntended(v.name, j, fault, asked) {
				t.Errorf("%s %q, %s: %s\n  %s\n  go: %+v\n      %q\n  %s: %+v\n      %q", j[0], j[1], side, fault, v.name, want, wantAsked, side, got, asked)
			}
		}
	}
	if pooled != v.pool {
		t.Errorf("Auto leaves names to the system's resolver: %t, want %t", pooled, v.pool)
	}
}

// otherQuestions is the fault of lookups with the same outcome.
const otherQuestions = "the servers are asked other questions"

// differs returns how two outcomes, and what was asked for them, differ.
func differs(want, got *outcome, wantAsked, asked []string) string {
	switch {
	case want.Err != got.Err:
		return fmt.Sprintf("the error is %q, want %q", got.Err, want.Err)
	case !strings.EqualFold(want.Canonical, got.Canonical): // what a server makes from the question by a DNAME has its random case
		return fmt.Sprintf("the canonical name is %q, want %q", got.Canonical, want.Canonical)
	case !slices.Equal(want.Values, got.Values):
		return "the values differ"
	case !slices.Equal(wantAsked, asked):
		return otherQuestions
	}
	return ""
}

func isIntended(variant string, j [2]string, fault string, asked []string) bool {
	for _, d := range differences {
		if (d.variant == "" || d.variant == variant) && (d.what == "" || d.what == j[0] && d.name == j[1]) && (!d.questions || fault == otherQuestions) && (!d.unasked || len(asked) == 0) {
			d.found = true
			return true
		}
	}
	return false
}

// startSides starts a process of the sides, and returns a function that has it do a job.
func startSides(t *testing.T) func(job) outcome {
	cmd := exec.Command("/proc/self/exe")
	// The pool is package net: without libc, it is the resolver that the sides are compared with.
	cmd.Env = append(os.Environ(), roleEnv+"="+roleSide, "GODEBUG=netdns=go")
	in, out := must(cmd.StdinPipe()), must(cmd.StdoutPipe())
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		in.Close()
		if err := cmd.Wait(); err != nil {
			t.Errorf("%v: %s", err, &stderr)
		}
	})
	enc, dec := json.NewEncoder(in), json.NewDecoder(out)
	return func(j job) (o outcome) {
		if err := enc.Encode(j); err != nil {
			t.Fatalf("%v: %s", err, &stderr)
		}
		if err := dec.Decode(&o); err != nil {
			t.Fatalf("%+v: %v: %s", j, err, &stderr)
		}
		return o
	}
}
