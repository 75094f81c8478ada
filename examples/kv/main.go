// Kv is a key-value server that speaks the Redis protocol, on Pollux's loops: a
// template for other protocols. Read it in this order:
//
//   - resp.go: parses commands and encodes replies;
//   - session.go: a connection, from received bytes to sent bytes;
//   - commands.go: the table of commands, and how one runs; strings.go, keys.go and
//     admin.go: the commands;
//   - store.go: the keys and their expiry;
//   - memory.go: the memory that --max-memory bounds, and how it is counted.
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
// shuts down.
const drainTime = 5 * time.Second

func main() {
	if err := run(); err != nil {
		log.Fatal("kv: ", err)
	}
}

func run() (err error) {
	var o options
	listen := flag.String("listen", "127.0.0.1:6379", "listen at this `address`; clients need no password")
	flag.IntVar(&o.loops, "loops", 1, "number of loops, each of which uses at most one processor")
	flag.IntVar(&o.maxBulk, "max-bulk", 8<<20, "maximum length of an argument, in `bytes`; a whole command may be twice as long")
	flag.IntVar(&o.maxConns, "max-conns", 10_000, "maximum number of open connections; further ones wait until others end")
	flag.Int64Var(&o.maxMemory, "max-memory", 0, "limit data, unfinished commands and unsent replies to this number of `bytes`; commands that exceed it are refused; 0: no limit")
	flag.DurationVar(&o.idleTimeout, "idle-timeout", 0, "close connections that are idle for this time; 0: never")
	profile := flag.String("cpuprofile", "", "write a CPU profile to this `file`")
	flag.Parse()
	if o.maxMemory < 0 {
		return fmt.Errorf("--max-memory %d: give a number of bytes, or 0 for no limit; write --max-memory 100000000", o.maxMemory)
	}
	if flag.NArg() > 0 {
		return fmt.Errorf("unexpected argument %q: kv takes only flags; --help lists them", flag.Arg(0))
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
	stop() // a second signal ends the program immediately

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
		return nil, fmt.Errorf("write the CPU profile to %s: %w", name, err)
	}
	return func() {
		pprof.StopCPUProfile()
		f.Close()
	}, nil
}
