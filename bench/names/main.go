// Names compares resolvers: package dns on a loop, Go's own, the system's getaddrinfo, and
// dnsperf, which only sends queries and counts responses.
//
//	CGO_ENABLED=1 go build ./bench/names && sudo ./names
//	sudo ./names -case bulk -names 100000 -rounds 5 pollux/epoll go
//
// Each argument is a resolver: pollux/BACKEND, go, libc, or dnsperf, which has the case bulk only;
// without arguments, all are compared. The cases:
//
//	literal  an address instead of a name, again and again
//	cached   one name, again and again
//	hosts    a name of the hosts file, again and again
//	warm     names that no cache has, one after the other
//	slow     1,000 names at once, each answered after 50 ms
//	bulk     100,000 names that no cache has, at most 1,000 at once
//
// A lookup asks for A and AAAA records: two queries. Each resolver is a process of its own, with GOMAXPROCS=1, pinned to -cpu, in a mount
// namespace with resolv.conf, nsswitch.conf and hosts of the benchmark. The resolvers take turns, for many rounds, so that other activity
// of the machine affects all alike. This process is the DNS server, pinned to -server-cpu, at 127.0.0.153:53. It runs on Linux, as root,
// with taskset(1), unshare(1), mount(8) and, if it is compared, dnsperf(1).
package main

import (
	"flag"
	"fmt"
	"log"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"time"
)

var (
	which     = flag.String("case", "", "measure this case only")
	names     = flag.Int("names", 100_000, "number of names of the case bulk")
	atOnce    = flag.Int("at-once", 1000, "number of lookups in progress in the case bulk")
	slowNames = flag.Int("slow-names", 1000, "number of names of the case slow")
	delay     = flag.Duration("delay", 50*time.Millisecond, "how long the server takes to answer in the case slow")
	slice     = flag.Duration("slice", 300*time.Millisecond, "how long each resolver is measured in a round, in the first four cases")
	rounds    = flag.Int("rounds", 5, "number of rounds")
	cpu       = flag.Int("cpu", 0, "the resolvers' processor")
	serverCPU = flag.Int("server-cpu", 1, "the server's processor")
	profile   = flag.String("cpuprofile", "", "write CPU profiles of the resolvers to files with this prefix")
	resolve   = flag.String("resolve", "", "be this resolver (used internally)")
)

var (
	resolvers = []string{"pollux/epoll", "pollux/uring", "go", "libc", "dnsperf"}
	cases     = []string{"literal", "cached", "hosts", "warm", "slow", "bulk"}
)

func main() {
	log.SetFlags(0)
	flag.Parse()
	if *resolve != "" {
		runSubject(*resolve)
		return
	}
	selected := flag.Args()
	if len(selected) == 0 {
		selected = resolvers
	}
	if *which != "" {
		if !slices.Contains(cases, *which) {
			log.Fatalf("%q is not a case; they are %s", *which, strings.Join(cases, ", "))
		}
		cases = []string{*which}
	}
	if *rounds < 1 || *names < 1 || *slowNames < 1 || *atOnce < 1 {
		log.Fatal("a number is less than 1")
	}
	pin()
	startServer()
	conf := writeConfig()
	defer os.RemoveAll(conf)
	var all []*subject
	for _, name := range selected {
		all = append(all, start(name, conf))
	}
	for _, c := range cases {
		report(c, measure(c, all))
	}
	for _, s := range all {
		s.stop()
	}
}

// pin pins this process to the server's processor.
func pin() {
	out, err := exec.Command("taskset", "-a", "-p", "-c", strconv.Itoa(*serverCPU), strconv.Itoa(os.Getpid())).CombinedOutput()
	if err != nil {
		log.Fatalf("taskset: %v: %s", err, out)
	}
}

// A result has the samples of one resolver.
type result struct {
	name    string
	samples []sample
}

// warmUp is the number of rounds that are not measured.
const warmUp = 1

// measure lets the resolvers take turns.
func measure(c string, all []*subject) []result {
	results := make([]result, 0, len(all))
	for _, s := range all {
		if s.has(c) {
			results = append(results, result{name: s.name})
		}
	}
	for round := range warmUp + *rounds {
		at := 0
		for _, s := range all {
			if !s.has(c) {
				continue
			}
			v := s.measure(c, round)
			if round >= warmUp {
				results[at].samples = append(results[at].samples, v)
			}
			at++
		}
	}
	return results
}

func report(c string, results []result) {
	fmt.Printf("\n%s; median [quartiles] of %d rounds\n", c, *rounds)
	fmt.Printf("%-14s %36s  %6s  %30s  %10s %8s\n", "", "CPU a lookup, ns", "×", "time a lookup, ns", "memory, KB", "failed")
	base := 0.0
	for i, r := range results {
		cpu, cpu1, cpu3 := quartiles(r.samples, func(s sample) float64 { return s.CPU / float64(s.Lookups) })
		wall, wall1, wall3 := quartiles(r.samples, func(s sample) float64 { return s.Wall / float64(s.Lookups) })
		memory, _, _ := quartiles(r.samples, func(s sample) float64 { return float64(s.Memory) / 1024 })
		failed := 0
		for _, s := range r.samples {
			failed += s.Failed
		}
		if i == 0 {
			base = cpu
		}
		fmt.Printf("%-14s %12.0f [%9.0f–%9.0f]  %6.2f  %10.0f [%8.0f–%8.0f]  %10.0f %8d\n", r.name, cpu, cpu1, cpu3, cpu/base, wall, wall1, wall3, memory, failed)
	}
}

func quartiles(samples []sample, of func(sample) float64) (median, first, third float64) {
	var all []float64
	for _, s := range samples {
		all = append(all, of(s))
	}
	slices.Sort(all)
	at := func(q float64) float64 { return all[int(q*float64(len(all)-1)+0.5)] }
	return at(0.5), at(0.25), at(0.75)
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
