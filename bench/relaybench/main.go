// Relaybench compares TCP proxies: loop.RelayTo on epoll and on io_uring, two goroutines with
// io.Copy on package net (which splices on Linux), the same without splice, and haproxy in TCP
// mode, if it is installed. All of them run at the same time, pinned to one processor; each is
// loaded in turn, for some milliseconds, in many rounds, so that other activity of the machine
// affects all of them alike. Clients and servers are relaybench itself, which busy-polls on another
// processor.
//
//	go build -o . ./bench/relaybench && taskset -c 1 ./relaybench
//
// It prints, for each load and proxy, medians over the rounds with the quartiles in brackets: the
// proxy's processor time and the rate, and the ratio of the processor time to the first proxy's in
// the same round. It runs on Linux.
package main

import (
	"flag"
	"fmt"
	"log"
	"os"
	"slices"
	"strings"
	"time"
)

var (
	slice   = flag.Duration("slice", 100*time.Millisecond, "how long each proxy is loaded in a round")
	rounds  = flag.Int("rounds", 30, "number of rounds of each load")
	cpu     = flag.Int("proxy-cpu", 0, "the proxies' processor, with GOMAXPROCS=1; negative: any")
	only    = flag.String("only", "", "only these proxies, separated by commas")
	bulk    = flag.String("bulk", "1,16", "numbers of streams of the bulk loads")
	pings   = flag.String("ping", "1,64,1000", "numbers of connections of the ping-pong loads")
	size    = flag.Int("size", 64, "bytes of a ping")
	memory  = flag.Int("memory", 0, "measure the memory of this number of idle relays as well")
	proxy   = flag.String("proxy", "", "internal: be this proxy")
	listen  = flag.String("listen", "", "internal: the proxy's address")
	to      = flag.String("to", "", "internal: the server's address")
	profile = flag.String("cpuprofile", "", "internal: write a CPU profile of the proxy to this file")
	profDir = flag.String("profiles", "", "write CPU profiles of the proxies written in Go to this folder")
	warmUp  = 3 // rounds that are not measured
	patient = 10 * time.Second
)

func main() {
	log.SetFlags(0)
	flag.Parse()
	if *proxy != "" {
		log.Fatal(serve(*proxy, *listen, *to))
	}
	if *rounds < 1 || *size < 1 || flag.NArg() > 0 {
		flag.Usage()
		os.Exit(2)
	}
	names := available()
	if *only != "" {
		names = strings.Split(*only, ",")
	}
	defer stopAll()
	fmt.Printf("%d rounds of %v for each proxy and load; medians [quartiles]\n", *rounds, *slice)
	for _, n := range numbers(*bulk) {
		compare(names, fmt.Sprintf("bulk, streams: %d", n), n, (*rig).bulk, "s/GiB", 1<<30/1e9, "GiB/s", 1.0/(1<<30))
	}
	for _, n := range numbers(*pings) {
		compare(names, fmt.Sprintf("ping-pong of %d B, connections: %d", *size, n), n, (*rig).ping, "µs/request", 1e-3, "requests/s", 1)
	}
	if *memory > 0 {
		compareMemory(names, *memory)
	}
}

// sample has the measurements of one slice.
type sample struct {
	cpu  float64 // nanoseconds of the proxy a unit
	rate float64 // units a second
}

// compare loads the proxies in turn and prints a table.
func compare(names []string, title string, conns int, load func(*rig) sample, cpuUnit string, cpuScale float64, rateUnit string, rateScale float64) {
	var rigs []*rig
	for _, name := range names {
		rigs = append(rigs, newRig(name, conns))
	}
	samples := make([][]sample, len(rigs))
	for round := range warmUp + *rounds {
		for i := range rigs {
			if round%2 == 1 {
				i = len(rigs) - 1 - i
			}
			if s := load(rigs[i]); round >= warmUp {
				samples[i] = append(samples[i], s)
			}
		}
	}
	fmt.Printf("\n%s\n\n| proxy | CPU, %s | ratio | rate, %s |\n|---|---|---|---|\n", title, cpuUnit, rateUnit)
	for i, r := range rigs {
		var cpus, ratios, rates []float64
		for round, s := range samples[i] {
			cpus = append(cpus, s.cpu*cpuScale)
			ratios = append(ratios, s.cpu/samples[0][round].cpu)
			rates = append(rates, s.rate*rateScale)
		}
		fmt.Printf("| %s | %s | %s | %s |\n", r.name, quartiles(cpus), quartiles(ratios), quartiles(rates))
		r.close()
	}
}

// quartiles returns the median and the quartiles.
func quartiles(v []float64) string {
	slices.Sort(v)
	return fmt.Sprintf("%.4g [%.4g–%.4g]", v[len(v)/2], v[len(v)/4], v[len(v)*3/4])
}

// compareMemory prints the memory that an idle relay costs, after one ping.
func compareMemory(names []string, conns int) {
	fmt.Printf("\nidle relays: %d\n\n| proxy | bytes a relay |\n|---|---|\n", conns)
	for _, name := range names {
		r := newRig(name, 1)
		r.ping()
		before := r.anonBytes()
		r.connect(conns)
		r.pingOnce()
		fmt.Printf("| %s | %d |\n", name, (r.anonBytes()-before)/int64(conns))
		r.close()
	}
}

// numbers returns the numbers of a list.
func numbers(list string) (ns []int) {
	for s := range strings.SplitSeq(list, ",") {
		n := 0
		if _, err := fmt.Sscan(s, &n); err == nil && n > 0 {
			ns = append(ns, n)
		} else if list != "" && s != "0" {
			log.Fatalf("%q: give numbers, separated by commas", list)
		}
	}
	return ns
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
