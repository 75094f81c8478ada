// Nethttp compares net/http on package netconn with net/http on package net, and an echo server on both, by the processor
// time and the system calls of a request. It starts netconnecho, which must be beside it, once for each; all of
// them run at the same time, and each is loaded in turn, in many rounds, so that other activity of the machine affects all
// of them alike. wrk loads net/http, and duel, which must be beside it too, the echo servers.
//
//	go build -o . ./bench/nethttp ./bench/netconnecho ./bench/duel && ./nethttp
//
// Each is done twice: with the servers pinned to processor 0 and GOMAXPROCS=1, and the load on processor 1
// (P=1); and without pinning on all processors (P=n). There the load competes with the servers, and duel polls without
// sleeping: on two processors the results of a run depend on where the kernel places the threads, so compare several runs.
// It prints medians over the rounds, with the quartiles in brackets, and the ratios to package net in the same round. System
// calls are counted by perf(1), in a round of its own. It runs on Linux.
package main

import (
	"flag"
	"fmt"
	"log"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
)

var (
	rounds   = flag.Int("rounds", 15, "number of rounds of net/http, of a second for each server; one more comes first, which is not measured")
	cycles   = flag.Int("cycles", 60, "number of cycles of the echo servers, of 30 ms for each")
	conns    = flag.Int("conns", 64, "connections")
	backends = flag.String("backends", "epoll", "backends of package netconn, separated by commas")
	path     = flag.String("path", "/", "path that is asked for: netconnecho answers each with a short text")
	only     = flag.String("only", "", "http or echo: only that; or http1, httpn, echo1, echon")
)

func main() {
	log.SetFlags(0)
	flag.Parse()
	if *rounds < 1 || *cycles < 1 || *conns < 1 || flag.NArg() > 0 {
		flag.Usage()
		os.Exit(2)
	}
	self, err := os.Executable()
	check(err)
	dir := filepath.Dir(self)
	defer stopAll()
	n := fmt.Sprint(runtime.NumCPU())
	for _, p := range []string{"1", n} {
		pinned := p == "1"
		suffix := map[bool]string{true: "1", false: "n"}[pinned]
		if strings.HasPrefix("http"+suffix, *only) {
			compareHTTP(dir, p, pinned)
		}
		if strings.HasPrefix("echo"+suffix, *only) {
			compareEcho(dir, p, pinned)
		}
		if n == "1" {
			break
		}
	}
}

// variants returns the flags of netconnecho, by the name of the variant: package net first.
func variants() (names []string, flags map[string][]string) {
	names, flags = []string{"net"}, map[string][]string{"net": nil}
	for b := range strings.SplitSeq(*backends, ",") {
		name := "netconn, " + b
		names = append(names, name)
		flags[name] = []string{"-netconn", "-backend", b}
	}
	return names, flags
}

// compareHTTP loads the servers in turn, and prints a table.
func compareHTTP(dir, p string, pinned bool) {
	names, flags := variants()
	var servers []*server
	for _, name := range names {
		servers = append(servers, start(filepath.Join(dir, "netconnecho"), pinned, append([]string{"-http"}, flags[name]...)))
	}
	samples := make([][]sample, len(servers))
	for round := range *rounds + 1 {
		for i := range servers {
			if round%2 == 1 {
				i = len(servers) - 1 - i
			}
			if s := servers[i].load(pinned); round > 0 {
				samples[i] = append(samples[i], s)
			}
		}
	}
	fmt.Printf("\nnet/http, %d connections by wrk, P=%s, %d rounds\n\n", *conns, p, *rounds)
	fmt.Print("| | CPU a request, µs | ratio | requests a second | ratio | p50, ms | p99, ms | system calls a request |\n|---|---|---|---|---|---|---|---|\n")
	for i, name := range names {
		cpu := func(s sample) float64 { return s.cpuMicros }
		rate := func(s sample) float64 { return s.rate }
		fmt.Printf("| %s | %s | %s | %s | %s | %s | %s | %s |\n", name,
			quartiles(values(samples[i], cpu)), quartiles(ratios(samples[i], samples[0], cpu)),
			quartiles(values(samples[i], rate)), quartiles(ratios(samples[i], samples[0], rate)),
			quartiles(values(samples[i], func(s sample) float64 { return s.p50 })),
			quartiles(values(samples[i], func(s sample) float64 { return s.p99 })), servers[i].systemCalls(pinned))
	}
	stopAll()
}

func values(samples []sample, of func(sample) float64) (v []float64) {
	for _, s := range samples {
		v = append(v, of(s))
	}
	return v
}

// ratios returns the ratios to the base in the same round.
func ratios(samples, base []sample, of func(sample) float64) (v []float64) {
	for i, s := range samples {
		v = append(v, of(s)/of(base[i]))
	}
	return v
}

// quartiles returns the median and the quartiles of v.
func quartiles(v []float64) string {
	slices.Sort(v)
	return fmt.Sprintf("%.3g [%.3g–%.3g]", v[len(v)/2], v[len(v)/4], v[len(v)*3/4])
}

func check(err error) {
	if err != nil {
		fatal("%v", err)
	}
}

func fatal(format string, args ...any) {
	stopAll()
	log.Fatalf(format, args...)
}
