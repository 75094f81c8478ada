// Duel compares echo servers on a machine whose speed changes. All of them run at the
// same time; each is loaded in turn, for a few milliseconds, in many cycles, so that other
// activity of the machine affects all of them alike. Each slice is compared with that of the
// first server in the same cycle.
//
//	taskset -c 1 duel -conns 64 -size 64 'c=epoll_echo {port} et' 'pollux=pollux serve echo -q --loops 1 -l 127.0.0.1:{port}'
//	taskset -c 1 duel -udp 200 'epoll=pollux serve echo -q --loops 1 {udp}' 'uring=pollux serve echo -q --loops 1 --backend uring {udp}'
//
// {port} is a free port, {udp} a "-l udp://127.0.0.1:PORT" for each of the -udp sockets. A
// command may begin with VAR=value words. The servers have GOMAXPROCS=1 and are pinned to
// -server-cpu. Duel itself busy-polls and never sleeps: give it a processor of its own. It
// runs on Linux.
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
	conns   = flag.Int("conns", 64, "connections")
	size    = flag.Int("size", 64, "bytes of a message")
	depth   = flag.Int("depth", 1, "messages in flight on each connection")
	udp     = flag.Int("udp", 0, "use this number of UDP sockets instead of connections")
	pause   = flag.Duration("pause", 0, "how long a connection waits between an answer and its next message")
	slice   = flag.Duration("slice", 30*time.Millisecond, "how long each server is loaded in a cycle")
	cycles  = flag.Int("cycles", 50, "number of cycles")
	cpu     = flag.Int("server-cpu", 0, "the servers' processor; negative: those that duel may use itself, and GOMAXPROCS is not set")
	warmUp  = 4 // cycles that are not measured
	patient = 5 * time.Second
)

// A load keeps a server busy.
type load interface {
	// run keeps it busy for about a slice, waits for the answers in flight, and returns the
	// measurements.
	run() sample
}

// sample has the measurements of one slice.
type sample struct {
	rate     float64 // messages a second
	cpuNanos float64 // a message
	p50, p99 float64 // microseconds
}

func main() {
	log.SetFlags(0)
	flag.Usage = func() {
		fmt.Fprintln(flag.CommandLine.Output(), `usage: duel [flags] NAME=COMMAND...

Compares echo servers that run at the same time, the first of which is the base. In a
COMMAND, {port} is a free port, {udp} a "-l udp://127.0.0.1:PORT" for each socket of -udp.
It may begin with VAR=value words.`)
		flag.PrintDefaults()
	}
	flag.Parse()
	if flag.NArg() == 0 || *conns < 1 || *size < 1 || *depth < 1 || *cycles < 1 || *udp < 0 || *udp > 0 && (*size < 8 || *pause > 0) {
		flag.Usage()
		os.Exit(2)
	}
	defer stopAll()
	var names []string
	for _, arg := range flag.Args() {
		name, command, ok := strings.Cut(arg, "=")
		if !ok {
			fatal("%q: give NAME=COMMAND", arg)
		}
		names = append(names, name)
		start(command)
	}
	loads := make([]load, len(servers))
	for i, s := range servers {
		if *udp > 0 {
			loads[i] = newUDPLoad(s)
		} else {
			loads[i] = newTCPLoad(s)
		}
	}
	report(names, measure(loads))
}

// measure returns the samples of each load, in the order of the cycles.
func measure(loads []load) [][]sample {
	samples := make([][]sample, len(loads))
	for cycle := range warmUp + *cycles {
		for i := range loads {
			if cycle%2 == 1 {
				i = len(loads) - 1 - i
			}
			if s := loads[i].run(); cycle >= warmUp {
				samples[i] = append(samples[i], s)
			}
		}
	}
	return samples
}

func report(names []string, samples [][]sample) {
	if *udp > 0 {
		fmt.Printf("%d sockets × %d B datagrams, %d cycles of %v\n", *udp, *size, *cycles, *slice)
	} else {
		fmt.Printf("%d × %d B × %d, %v apart, %d cycles of %v\n", *conns, *size, *depth, *pause, *cycles, *slice)
	}
	for i, name := range names {
		fmt.Printf("%-12s rate %7.0f/s %s  CPU %6.0f ns %s  p50 %7.1f µs %s  p99 %7.1f µs %s\n", name,
			median(samples[i], sample.rateOf), versus(samples, i, sample.rateOf),
			median(samples[i], sample.cpuOf), versus(samples, i, sample.cpuOf),
			median(samples[i], sample.p50Of), versus(samples, i, sample.p50Of),
			median(samples[i], sample.p99Of), versus(samples, i, sample.p99Of))
	}
}

func (s sample) rateOf() float64 { return s.rate }
func (s sample) cpuOf() float64  { return s.cpuNanos }
func (s sample) p50Of() float64  { return s.p50 }
func (s sample) p99Of() float64  { return s.p99 }

func median(samples []sample, of func(sample) float64) float64 {
	v := make([]float64, len(samples))
	for i, s := range samples {
		v[i] = of(s)
	}
	slices.Sort(v)
	return v[len(v)/2]
}

// versus returns the median and the quartiles of the ratios to the first server.
func versus(samples [][]sample, i int, of func(sample) float64) string {
	v := make([]float64, len(samples[i]))
	for cycle := range v {
		v[cycle] = of(samples[i][cycle]) / of(samples[0][cycle])
	}
	slices.Sort(v)
	return fmt.Sprintf("×%.3f [%.2f–%.2f]", v[len(v)/2], v[len(v)/4], v[len(v)*3/4])
}

// summary returns the sample of a slice.
func summary(s *server, messages int, took time.Duration, cpu0 int64, all int, latencies []time.Duration) sample {
	slices.Sort(latencies)
	micros := func(q int) float64 { return float64(latencies[len(latencies)*q/100]) / 1e3 }
	return sample{
		rate:     float64(messages) / took.Seconds(),
		cpuNanos: float64(s.cpuNanos()-cpu0) / float64(all),
		p50:      micros(50), p99: micros(99),
	}
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
