// Fanout compares ways to send one message to many connections: how many deliveries a server makes
// in a second of processor time.
//
//	go run ./bench/fanout
//	go run ./bench/fanout -conns 10000 -sizes 4096 -bursts 1 -rounds 20 shared/epoll write/epoll
//
// Each argument is a METHOD/BACKEND; without arguments, all are compared:
//
//	shared/…  Fanout.Send of a Shared
//	each/…    Group.Each, and Conn.Write in its function
//	write/…   Conn.Write for each connection, from one goroutine
//	owned/…   Conn.WriteShared for each connection, from one goroutine
//	net/go    package net, with a goroutine and a channel for each connection
//
// All servers run at the same time, each in a process of its own, with GOMAXPROCS=1 and pinned to
// -server-cpu. Each is loaded in turn, for a slice, in many rounds, so that other activity of the
// machine affects all of them alike. This process receives; it is pinned to -receiver-cpu. It runs
// on Linux, with taskset(1).
package main

import (
	"context"
	"flag"
	"fmt"
	"log"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/pollux-io/pollux"
)

var (
	conns       = flag.Int("conns", 2000, "connections of each server")
	sizes       = flag.String("sizes", "64,4096", "bytes of a message, one table for each")
	bursts      = flag.String("bursts", "1,8", "messages sent at once, before the server waits for their delivery")
	rounds      = flag.Int("rounds", 10, "number of rounds")
	slice       = flag.Duration("slice", 300*time.Millisecond, "how long each server is loaded in a round")
	serverCPU   = flag.Int("server-cpu", 0, "the servers' processor")
	receiverCPU = flag.Int("receiver-cpu", 1, "this process's processor")
	serve       = flag.String("serve", "", "be the server of this METHOD/BACKEND (used internally)")
	profile     = flag.String("cpuprofile", "", "write CPU profiles of the servers to files with this prefix")
)

var all = []string{
	"shared/epoll", "shared/uring", "each/epoll", "each/uring", "write/epoll", "write/uring", "owned/epoll", "owned/uring", "net/go",
}

// warmUp is the number of rounds that are not measured.
const warmUp = 1

func main() {
	log.SetFlags(0)
	flag.Parse()
	if *serve != "" {
		runServer(*serve)
		return
	}
	names := flag.Args()
	if len(names) == 0 {
		names = all
	}
	if *conns < 1 || *rounds < 1 {
		flag.Usage()
		os.Exit(2)
	}
	pin()
	os.Unsetenv(pollux.BackendEnv)
	r := newReceiver()
	defer r.group.Shutdown(context.Background())
	var servers []*server
	for _, name := range names {
		s := start(name)
		defer s.stop()
		r.connect(s.addr, *conns)
		servers = append(servers, s)
	}
	for _, size := range numbers(*sizes) {
		for _, burst := range numbers(*bursts) {
			report(size, burst, servers, measure(r, servers, size, burst))
		}
	}
}

// pin pins this process to the receiver's processor.
func pin() {
	out, err := exec.Command("taskset", "-a", "-p", "-c", strconv.Itoa(*receiverCPU), strconv.Itoa(os.Getpid())).CombinedOutput()
	if err != nil {
		log.Fatalf("taskset: %v: %s", err, out)
	}
}

func numbers(list string) (all []int) {
	for _, s := range strings.Split(list, ",") {
		n, err := strconv.Atoi(s)
		if err != nil || n < 1 || n > maxMessage {
			log.Fatalf("%q: give numbers from 1 to %d, with commas between them", list, maxMessage)
		}
		all = append(all, n)
	}
	return all
}

// sample has the measurements of one slice.
type sample struct{ perCPU, perSecond float64 }

// measure returns the samples of each server, in the order of the rounds.
func measure(r *receiver, servers []*server, size, burst int) [][]sample {
	samples := make([][]sample, len(servers))
	for round := range warmUp + *rounds {
		for i := range servers {
			if round%2 == 1 {
				i = len(servers) - 1 - i
			}
			s := servers[i]
			cpu, began, deliveries := s.cpu(), time.Now(), 0
			for time.Since(began) < *slice {
				r.expect(size * burst * *conns)
				fmt.Fprintf(s.in, "%d %d\n", size, burst)
				r.await()
				deliveries += burst * *conns
			}
			if round >= warmUp {
				samples[i] = append(samples[i], sample{
					float64(deliveries) / (s.cpu() - cpu).Seconds(), float64(deliveries) / time.Since(began).Seconds(),
				})
			}
		}
	}
	return samples
}

func report(size, burst int, servers []*server, samples [][]sample) {
	fmt.Printf("\n%d connections, messages of %d B, %d at once; median [quartiles] of %d rounds of %v\n", *conns, size, burst, *rounds, *slice)
	fmt.Printf("%-14s %34s  %8s  %34s\n", "", "deliveries a CPU second", "×", "deliveries a second")
	base, _, _ := quartiles(samples[0], func(s sample) float64 { return s.perCPU })
	for i, s := range servers {
		cpu, cpu1, cpu3 := quartiles(samples[i], func(s sample) float64 { return s.perCPU })
		rate, rate1, rate3 := quartiles(samples[i], func(s sample) float64 { return s.perSecond })
		fmt.Printf("%-14s %10.0f [%10.0f–%10.0f]  %8.2f  %10.0f [%10.0f–%10.0f]\n", s.name, cpu, cpu1, cpu3, cpu/base, rate, rate1, rate3)
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
