// Tls compares echo servers over TLS: package net and crypto/tls with a goroutine and a buffer for each connection, package
// tlsconn, and tlsconn with its fall-back (POLLUX_TLS=copying). It starts all of them, each as a process of its own with GOMAXPROCS=1, is
// their client, and prints
//
//   - the memory of an idle connection: after the handshake, after a message of 64 bytes, after a message of 16 KiB in full
//     records: heap and stacks in use, and RssAnon;
//   - the CPU time of a message, at 64 connections: the servers take turns, for a few milliseconds each, and every turn is
//     compared with that of the first server in the same cycle;
//   - the CPU time of a handshake, full and resumed, in the same way.
//
// It runs on Linux:
//
//	go run ./bench/tls -conns 5000
package main

import (
	"crypto/tls"
	"flag"
	"fmt"
	"log"
	"slices"
	"time"
)

var (
	conns  = flag.Int("conns", 5000, "idle connections")
	cycles = flag.Int("cycles", 60, "turns of each server in which CPU time is measured")
	slice  = flag.Duration("slice", 20*time.Millisecond, "length of a turn")
	serve  = flag.String("serve", "", "be the server of this kind, net4, net16 or loop; for this program's own use")
)

// warmUp is how many cycles are not measured.
const warmUp = 5

// active is how many connections send messages while CPU time is measured.
const active = 64

func main() {
	log.SetFlags(0)
	flag.Parse()
	if *serve != "" {
		if err := runServer(*serve); err != nil {
			log.Fatalf("server %s: %v", *serve, err)
		}
		return
	}
	servers := []*server{
		{name: "net, 16 KiB buffer", kind: "net16"},
		{name: "net, 4 KiB buffer", kind: "net4"},
		{name: "tlsconn", kind: "loop"},
		{name: "tlsconn, copying", kind: "loop", env: "POLLUX_TLS=copying"},
	}
	for _, s := range servers {
		if err := s.start(); err != nil {
			log.Fatal(err)
		}
		defer s.stop()
	}
	fmt.Println("idle bytes a connection: heap + stacks / RssAnon")
	for _, s := range servers {
		if err := memory(s); err != nil {
			log.Fatal(err)
		}
	}
	for _, test := range []struct {
		name string
		open func(*server) (func() (int, error), error)
	}{
		{fmt.Sprintf("CPU a message, %d x 64 B", active), echoes(64)},
		{fmt.Sprintf("CPU a message, %d x 16 KiB", active), echoes(16 << 10)},
		{"CPU a full handshake", handshakes(false)},
		{"CPU a resumed handshake", handshakes(true)},
	} {
		fmt.Println(test.name)
		if err := compare(servers, test.open); err != nil {
			log.Fatal(err)
		}
	}
}

// compare has the servers take turns, and prints the CPU time of an operation, and its ratio to that of the first server.
func compare(servers []*server, open func(*server) (func() (int, error), error)) error {
	runs := make([]func() (int, error), len(servers))
	for i, s := range servers {
		var err error
		if runs[i], err = open(s); err != nil {
			return fmt.Errorf("%s: %w", s.name, err)
		}
	}
	nanos, ratios := make([][]float64, len(servers)), make([][]float64, len(servers))
	for cycle := range warmUp + *cycles {
		for i, s := range servers {
			each, err := cpuOf(s, runs[i])
			if err != nil {
				return fmt.Errorf("%s: %w", s.name, err)
			}
			if cycle >= warmUp {
				nanos[i] = append(nanos[i], each)
				ratios[i] = append(ratios[i], each/nanos[0][len(nanos[0])-1])
			}
		}
	}
	for i, s := range servers {
		slices.Sort(ratios[i])
		n := len(ratios[i])
		fmt.Printf("  %-18s %8.2f µs   ratio %.2f (quartiles %.2f to %.2f)\n", s.name, median(nanos[i])/1e3, median(ratios[i]), ratios[i][n/4], ratios[i][3*n/4])
	}
	return nil
}

// cpuOf returns the CPU time that the server takes for each operation of a turn.
func cpuOf(s *server, run func() (int, error)) (float64, error) {
	before, err := s.cpu()
	if err != nil {
		return 0, err
	}
	n := 0
	for end := time.Now().Add(*slice); time.Now().Before(end); {
		done, err := run()
		if err != nil {
			return 0, err
		}
		n += done
	}
	after, err := s.cpu()
	return float64(after-before) / float64(n), err
}

func median(v []float64) float64 {
	v = slices.Clone(v)
	slices.Sort(v)
	return v[len(v)/2]
}

// memory prints the memory of idle connections.
func memory(s *server) error {
	empty, err := s.memory()
	if err != nil {
		return err
	}
	all := make([]*tls.Conn, *conns)
	defer func() {
		for _, c := range all {
			if c != nil {
				c.NetConn().Close()
			}
		}
	}()
	fmt.Printf("  %-18s", s.name)
	for _, size := range []int{0, 64, 16 << 10} {
		err := inParallel(len(all), func(i int) (err error) {
			if all[i] == nil {
				if all[i], err = s.dial(nil); err != nil {
					return err
				}
			}
			return exchange(all[i], make([]byte, size))
		})
		if err != nil {
			return err
		}
		used, err := s.memory()
		if err != nil {
			return err
		}
		fmt.Printf("   %d B: %6d / %6d", size, (used.inUse-empty.inUse)/int64(*conns), (used.rss-empty.rss)/int64(*conns))
	}
	fmt.Println()
	return nil
}
