// Loopecho is an echo server on the executor. docs/performance.md compares it with
// an epoll server in C and with plain net.
package main

import (
	"context"
	"flag"
	"fmt"
	"log"
	"os"
	"os/signal"
	"runtime"
	"runtime/pprof"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/pollux-io/pollux/loop"
)

type echo struct{}

func (echo) Data(c *loop.Conn, b []byte) (int, error) { return c.Write(b) }

func main() {
	listen := flag.String("listen", "127.0.0.1:7000", "TCP address")
	loops := flag.Int("loops", 0, "loops; 0: GOMAXPROCS")
	busy := flag.Duration("busy-poll", 0, "spin this long before sleeping")
	profile := flag.String("cpuprofile", "", "write a CPU profile to this file")
	allocs := flag.Bool("allocs", false, "print the number of allocations at the end")
	compute := flag.Bool("compute", false, "run a goroutine that computes, and print its steps per second at the end")
	gc := flag.Duration("gc", 0, "force a garbage collection at this interval, from another goroutine, and print the longest time it took")
	flag.Parse()
	if *gc > 0 {
		go forceGC(*gc)
	}
	if *compute {
		go computeForever()
	}
	if *profile != "" {
		f, err := os.Create(*profile)
		if err != nil {
			log.Fatal(err)
		}
		if err := pprof.StartCPUProfile(f); err != nil {
			log.Fatal(err)
		}
		defer pprof.StopCPUProfile()
	}
	g, err := loop.NewGroup(loop.Config{Loops: *loops, BusyPoll: *busy})
	if err != nil {
		log.Fatal(err)
	}
	if _, err := g.Listen("tcp", *listen, func(*loop.Conn) loop.Handler { return echo{} }); err != nil {
		log.Fatal(err)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	<-ctx.Done()
	stop()
	if *allocs {
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		fmt.Fprintf(os.Stderr, "mallocs %d, %+v\n", m.Mallocs, g.Stats())
	}
	if *compute {
		fmt.Fprintf(os.Stderr, "%.0f steps a second\n", float64(steps.Load())/time.Since(began).Seconds())
	}
	now, cancel := context.WithCancel(context.Background())
	cancel()
	g.Shutdown(now)
}

var (
	steps atomic.Uint64 // of computeForever
	began = time.Now()
)

// computeForever computes without ever blocking.
func computeForever() {
	for x := uint64(1); ; steps.Add(1) {
		for range 1000 {
			x = x*6364136223846793005 + 1
		}
		if x == 0 {
			return
		}
	}
}

func forceGC(every time.Duration) {
	worst := time.Duration(0)
	for {
		time.Sleep(every)
		start := time.Now()
		runtime.GC()
		if d := time.Since(start); d > worst {
			worst = d
			fmt.Fprintf(os.Stderr, "longest forced collection so far: %v\n", d)
		}
	}
}
