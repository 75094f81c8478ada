package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/pprof"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pollux-io/pollux/bench/internal/proc"
	"github.com/pollux-io/pollux/dns"
	"github.com/pollux-io/pollux/loop"
)

const hostsName = "gateway.bench.test"

// A sample is what one resolver did in one round.
type sample struct {
	Lookups, Failed int
	CPU, Wall       float64 // nanoseconds
	Memory          int64   // RssAnon after the round, in bytes; 0: not known
}

// A subject is the process of a resolver.
type subject struct {
	name string
	conf string
	cmd  *exec.Cmd
	in   io.WriteCloser
	out  *bufio.Scanner
}

// writeConfig writes the files that resolvers read, into a folder.
func writeConfig() (dir string) {
	dir, err := os.MkdirTemp("", "names")
	check(err)
	for name, text := range map[string]string{
		"resolv.conf":   "nameserver " + serverAddr + "\noptions timeout:5 attempts:2\n",
		"nsswitch.conf": "hosts: files dns\n",
		"hosts":         "127.0.0.1 localhost\n192.0.2.7 " + hostsName + "\n",
	} {
		check(os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644))
	}
	return dir
}

// inNamespace has the files of the folder $0 in the place of the system's, and runs its arguments.
const inNamespace = `for f in resolv.conf nsswitch.conf hosts; do mount --bind "$0/$f" "/etc/$f" || exit; done; exec "$@"`

func start(name, conf string) *subject {
	s := &subject{name: name, conf: conf}
	if name == "dnsperf" {
		return s
	}
	self, err := os.Executable()
	check(err)
	args := append([]string{"-m", "sh", "-c", inNamespace, conf, "taskset", "-c", strconv.Itoa(*cpu), self, "-resolve", name}, os.Args[1:]...)
	s.cmd = exec.Command("unshare", args...)
	s.cmd.Stderr = os.Stderr
	s.cmd.Env = append(os.Environ(), "GOMAXPROCS=1")
	s.in, err = s.cmd.StdinPipe()
	check(err)
	out, err := s.cmd.StdoutPipe()
	check(err)
	check(s.cmd.Start())
	s.out = bufio.NewScanner(out)
	return s
}

func (s *subject) stop() {
	if s.cmd != nil {
		s.in.Close()
		s.cmd.Wait()
	}
}

func (s *subject) has(c string) bool { return s.cmd != nil || c == "bulk" }

func (s *subject) measure(c string, round int) (v sample) {
	if s.cmd == nil {
		return dnsperf(s.conf, round)
	}
	fmt.Fprintf(s.in, "%s %d\n", c, round)
	if !s.out.Scan() {
		log.Fatalf("%s has ended", s.name)
	}
	check(json.Unmarshal(s.out.Bytes(), &v))
	return v
}

// dnsperf makes the same queries as the case bulk.
func dnsperf(conf string, round int) sample {
	f, err := os.Create(filepath.Join(conf, "queries"))
	check(err)
	w := bufio.NewWriter(f)
	for i := range *names {
		fmt.Fprintf(w, "%s A\n%[1]s AAAA\n", bulkName(round, i))
	}
	check(w.Flush())
	check(f.Close())
	cmd := exec.Command("taskset", "-c", strconv.Itoa(*cpu), "dnsperf", "-s", serverAddr, "-d", f.Name(), "-q", strconv.Itoa(2**atOnce), "-n", "1", "-e")
	began := time.Now()
	out, err := cmd.CombinedOutput()
	if err != nil {
		log.Fatalf("dnsperf: %v: %s", err, out)
	}
	cpu := cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()
	return sample{Lookups: *names, Wall: float64(time.Since(began)), CPU: float64(cpu)}
}

func bulkName(round, i int) string { return fmt.Sprintf("n%d-%d.bench.test", round, i) }

// A lookup looks up a name, and calls done.
type lookup func(name string, done func(error))

// runSubject measures the cases that its standard input names, until that ends.
func runSubject(name string) {
	if *profile != "" {
		f, err := os.Create(*profile + strings.ReplaceAll(name, "/", "-"))
		check(err)
		defer f.Close()
		check(pprof.StartCPUProfile(f))
		defer pprof.StopCPUProfile()
	}
	look := subjectLookup(name)
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		var c string
		var round int
		_, err := fmt.Sscan(lines.Text(), &c, &round)
		check(err)
		cpu, err := proc.CPUNanos(os.Getpid())
		check(err)
		began := time.Now()
		v := runCase(look, c, round)
		v.Wall = float64(time.Since(began))
		after, err := proc.CPUNanos(os.Getpid())
		check(err)
		v.CPU = float64(after - cpu)
		v.Memory, err = proc.AnonBytes(os.Getpid())
		check(err)
		b, err := json.Marshal(v)
		check(err)
		fmt.Printf("%s\n", b)
	}
}

func runCase(look lookups, c string, round int) sample {
	switch c {
	case "literal":
		return repeat(look.wait, func(int) string { return "192.0.2.9" })
	case "cached":
		return repeat(look.wait, func(int) string { return "cached.bench.test" })
	case "hosts":
		return repeat(look.wait, func(int) string { return hostsName })
	case "warm":
		return repeat(look.wait, func(i int) string { return fmt.Sprintf("w%d-%d.bench.test", round, i) })
	case "slow":
		return many(look.start, *slowNames, *slowNames, func(i int) string { return fmt.Sprintf("slow%d-%d.bench.test", round, i) })
	default:
		return many(look.start, *names, *atOnce, func(i int) string { return bulkName(round, i) })
	}
}

// repeat looks up one name after the other, for a slice.
func repeat(look func(string) error, name func(int) string) (v sample) {
	const perCheck = 16 // lookups before the clock is read
	end := time.Now().Add(*slice)
	for time.Now().Before(end) {
		for range perCheck {
			if look(name(v.Lookups)) != nil {
				v.Failed++
			}
			v.Lookups++
		}
	}
	return v
}

// many looks up n names, at most so many at once.
func many(look lookup, n, atOnce int, name func(int) string) sample {
	var failed atomic.Int64
	var all sync.WaitGroup
	free := make(chan struct{}, atOnce)
	for i := range n {
		free <- struct{}{}
		all.Add(1)
		look(name(i), func(err error) {
			if err != nil {
				failed.Add(1)
			}
			<-free
			all.Done()
		})
	}
	all.Wait()
	return sample{Lookups: n, Failed: int(failed.Load())}
}

// lookups are those of one resolver.
type lookups struct {
	wait  func(name string) error
	start lookup
}

func subjectLookup(name string) lookups {
	ctx := context.Background()
	if backend, ok := strings.CutPrefix(name, "pollux/"); ok {
		g, err := loop.NewGroup(loop.Config{Loops: 1, Backend: backend})
		check(err)
		r, err := dns.New(dns.Config{Group: g})
		check(err)
		l := g.Loops()[0]
		return lookups{
			func(name string) error { _, err := r.Lookup(ctx, name); return err },
			func(name string, done func(error)) {
				r.LookupFunc(l, name, func(_ dns.Answer, err error) { done(err) })
			},
		}
	}
	r := &net.Resolver{PreferGo: true}
	switch name {
	case "go":
	case "libc":
		r.PreferGo = false
		check(os.Setenv("GODEBUG", "netdns=cgo"))
	default:
		log.Fatalf("%q is not a resolver; they are %s", name, strings.Join(resolvers, ", "))
	}
	wait := func(name string) error { _, err := r.LookupNetIP(ctx, "ip", name); return err }
	return lookups{wait, func(name string, done func(error)) { go func() { done(wait(name)) }() }}
}
