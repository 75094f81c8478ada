// Kv is a key-value server that speaks the Redis protocol, over Pollux's loops: a
// model for a protocol of one's own. Read it in this order:
//
//   - resp.go: from bytes to commands, and from answers to bytes;
//   - session.go: a connection, from the bytes that came to the bytes that go;
//   - commands.go: the table of commands, and how one runs; strings.go, keys.go and
//     admin.go: what each does;
//   - store.go: the keys, and when they expire;
//   - memory.go: what --max-memory bounds, and how it is counted.
package main

import (
	"context"
	"flag"
	"fmt"
	"log"
	"os"
	"os/signal"
	"runtime/pprof"
	"syscall"
	"time"
)

// drainTime is how long a client may take to receive its last replies when the server
// ends.
const drainTime = 5 * time.Second

func main() {
	if err := run(); err != nil {
		log.Fatal("kv: ", err)
	}
}

func run() (err error) {
	var o options
	listen := flag.String("listen", "127.0.0.1:6379", "serve at this `address`; it asks no password")
	flag.IntVar(&o.loops, "loops", 1, "loops, each of which keeps one processor busy at most")
	flag.IntVar(&o.maxBulk, "max-bulk", 8<<20, "longest argument, in `bytes`; a whole command may be twice as long")
	flag.IntVar(&o.maxConns, "max-conns", 10_000, "connections at once; more wait until others end")
	flag.Int64Var(&o.maxMemory, "max-memory", 0, "bound data, unfinished commands and unsent replies to so many `bytes`; what goes beyond is refused; 0: no limit")
	flag.DurationVar(&o.idleTimeout, "idle-timeout", 0, "close connections that are idle for so long; 0: never")
	profile := flag.String("cpuprofile", "", "write a CPU profile to this `file`")
	flag.Parse()
	if o.maxMemory < 0 {
		return fmt.Errorf("--max-memory %d: give a number of bytes, or 0 for no limit; write --max-memory 100000000", o.maxMemory)
	}
	if flag.NArg() > 0 {
		return fmt.Errorf("unexpected argument %q: there are flags only; --help lists them", flag.Arg(0))
	}

	if *profile != "" {
		stop, err := startProfile(*profile)
		if err != nil {
			return err
		}
		defer stop()
	}
	s, err := newServer(o)
	if err != nil {
		return err
	}
	ended, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	ln, err := s.group.Listen("tcp", *listen, s.accept)
	if err != nil {
		return err
	}
	log.Printf("serving at %v, on %s", ln.Addr(), s.group.Backend())
	<-ended.Done()
	stop() // a second signal ends the program at once

	drain, cancel := context.WithTimeout(context.Background(), drainTime)
	defer cancel()
	return s.group.Shutdown(drain)
}

func startProfile(name string) (stop func(), err error) {
	f, err := os.Create(name)
	if err != nil {
		return nil, err
	}
	if err := pprof.StartCPUProfile(f); err != nil {
		f.Close()
		return nil, fmt.Errorf("profiling into %s: %w", name, err)
	}
	return func() {
		pprof.StopCPUProfile()
		f.Close()
	}, nil
}
