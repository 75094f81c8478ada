// Parked measures the memory of idle keep-alive connections of net/http: over package net, over package netconn, and parked by
// netconn/parkhttp. Each server is a process of its own with an unmodified http.Server. It is measured empty, with all
// connections idle after a request each, and again after four more requests on each of them, split, pipelined and with bodies, whose
// answers are checked. The servers take turns, -rounds times. Linux only: memory is HeapAlloc and StackInuse of
// runtime.MemStats after a collection, and RssAnon of proc(5) after debug.FreeOSMemory.
//
//	parked -conns 15000 -rounds 3
package main

import (
	"flag"
	"fmt"
	"log"
	"slices"
	"strings"
	"time"
)

// subjects are the kinds of servers, in the order of the report.
var subjects = []string{"net", "netconn", "parked"}

func main() {
	log.SetFlags(0)
	serve := flag.String("serve", "", "be the server of this `kind`; used by the program itself")
	backend := flag.String("backend", "", "backend of the loops")
	conns := flag.Int("conns", 15_000, "connections to each server; RLIMIT_NOFILE must allow them")
	rounds := flag.Int("rounds", 3, "measurements of each server")
	only := flag.String("only", strings.Join(subjects, ","), "servers to measure, of "+strings.Join(subjects, ", "))
	flag.Parse()
	if *serve != "" {
		if err := beServer(*serve, *backend); err != nil {
			log.Fatalf("parked: server %s: %v", *serve, err)
		}
		return
	}
	if *conns < 1 || *rounds < 1 {
		log.Fatal("parked: -conns and -rounds must be positive")
	}
	kinds := strings.Split(*only, ",")
	for _, kind := range kinds {
		if !slices.Contains(subjects, kind) {
			log.Fatalf("parked: -only has %q; the servers are %s", kind, strings.Join(subjects, ", "))
		}
	}
	fmt.Printf("%d connections; bytes a connection\n", *conns)
	fmt.Printf("%-8s %5s %-14s %12s %10s %10s %11s %10s\n", "server", "round", "after", "heap+stack", "heap", "RssAnon", "goroutines", "parked")
	for round := range *rounds {
		for _, kind := range kinds {
			if err := measure(kind, *backend, *conns, round+1); err != nil {
				log.Fatalf("parked: server %s: %v", kind, err)
			}
		}
	}
}

// idleTime is how long connections are idle before a measurement: more than it takes to park them.
const idleTime = time.Second

// measure starts a server, measures it, and ends it.
func measure(kind, backend string, conns, round int) error {
	s, err := startServer(kind, backend)
	if err != nil {
		return err
	}
	defer s.stop()
	c, err := newClients(s.addr, 1) // so that what the first request allocates is not counted
	if err != nil {
		return err
	}
	c.close()
	empty, err := s.settle(0)
	if err != nil {
		return err
	}
	if c, err = newClients(s.addr, conns); err != nil {
		return err
	}
	defer c.close()
	for _, phase := range []struct {
		name string
		do   []exchange
	}{{"one request", nil}, {"five requests", []exchange{split, pipelined, body}}} {
		for _, x := range phase.do {
			if err := c.exchange(x); err != nil {
				return fmt.Errorf("%s: %w", x.name, err)
			}
		}
		expected := 0
		if kind == "parked" {
			expected = conns
		}
		full, err := s.settle(expected)
		if err != nil {
			return err
		}
		each := func(full, empty int64) int64 { return (full - empty) / int64(conns) }
		fmt.Printf("%-8s %5d %-14s %12d %10d %10d %11d %10d\n", kind, round, phase.name, each(full.Heap+full.Stack, empty.Heap+empty.Stack),
			each(full.Heap, empty.Heap), each(full.rss, empty.rss), full.Goroutines-empty.Goroutines, full.Parked)
	}
	return nil
}
