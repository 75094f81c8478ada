// Udppairs compares servers that echo datagrams on many sockets, in adjacent pairs: the
// first command given is the base. To each it appends "-l udp://127.0.0.1:PORT" for each
// socket. It keeps one datagram under way for each, from a single socket of its own that
// sends and receives in batches, so that the server is what takes the time.
//
//	taskset -c 1 udppairs -sockets 200 'epoll=GOMAXPROCS=1 pollux serve echo -q --loops 1 --backend epoll' \
//	    'uring=GOMAXPROCS=1 pollux serve echo -q --loops 1 --backend uring'
package main

import (
	"bufio"
	"encoding/binary"
	"flag"
	"fmt"
	"log"
	"net/netip"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/pollux-io/pollux/sock"
)

var (
	sockets   = flag.Int("sockets", 200, "sockets of the server")
	size      = flag.Int("size", 64, "bytes of a datagram, 16 at the least")
	rounds    = flag.Int("rounds", 7, "pairs")
	duration  = flag.Duration("time", time.Second, "of each run")
	serverCPU = flag.String("server-cpu", "0", "processor of the server, for taskset; empty: any")
)

// result is one run's.
type result struct{ rate, cpuNanos, p50, p99 float64 }

func main() {
	flag.Parse()
	if flag.NArg() < 2 || *sockets < 1 || *size < 16 {
		flag.Usage()
		os.Exit(2)
	}
	port := 30000
	base := flag.Arg(0)
	for _, other := range flag.Args()[1:] {
		var rate, cpu, p99 []float64
		for round := range *rounds {
			pair := []string{base, other}
			if round%2 == 1 {
				slices.Reverse(pair)
			}
			got := map[string]result{}
			for _, command := range pair {
				port += *sockets
				if port+*sockets > 60000 {
					port = 30000
				}
				got[command] = run(command, port)
			}
			b, o := got[base], got[other]
			rate, cpu, p99 = append(rate, o.rate/b.rate), append(cpu, o.cpuNanos/b.cpuNanos), append(p99, o.p99/b.p99)
			log.Printf("%.0f/s %.0f ns p50 %.0f µs; base %.0f/s %.0f ns p50 %.0f µs", o.rate, o.cpuNanos, o.p50, b.rate, b.cpuNanos, b.p50)
		}
		name, _, _ := strings.Cut(other, "=")
		fmt.Printf("%s: rate %s, CPU a message %s, p99 %s\n", name, spread(rate), spread(cpu), spread(p99))
	}
}

func spread(v []float64) string {
	slices.Sort(v)
	return fmt.Sprintf("%.2f [%.2f-%.2f]", v[len(v)/2], v[0], v[len(v)-1])
}

// run starts a server, loads it, and ends it.
func run(command string, port int) result {
	_, words, _ := strings.Cut(command, "=")
	args := strings.Fields(words)
	env := os.Environ()
	for strings.Contains(args[0], "=") {
		env = append(env, args[0])
		args = args[1:]
	}
	for i := range *sockets {
		args = append(args, "-l", fmt.Sprintf("udp://127.0.0.1:%d", port+i))
	}
	if *serverCPU != "" {
		args = append([]string{"taskset", "-c", *serverCPU}, args...)
	}
	server := exec.Command(args[0], args[1:]...)
	server.Env, server.Stderr = env, os.Stderr
	out, err := server.StdoutPipe()
	check(err)
	check(server.Start())
	defer func() {
		server.Process.Signal(syscall.SIGTERM)
		server.Wait()
	}()
	if line, err := bufio.NewReader(out).ReadString('\n'); err != nil {
		log.Fatalf("%s: %q, %v", command, line, err)
	}
	return load(port, server.Process.Pid)
}

const (
	batch = 64
	// lostAfter: a datagram that has not come back for so long is sent again.
	lostAfter = 50 * time.Millisecond
	warmUp    = 200 * time.Millisecond
)

// load echoes until the time is up.
func load(port, pid int) (r result) {
	u, err := sock.ListenUDP(netip.MustParseAddrPort("127.0.0.1:0"), sock.RecvBuffer(4<<20))
	check(err)
	defer u.Close()
	in, out := make([]sock.Message, batch), make([]sock.Message, 0, batch)
	room := make([][]byte, batch)
	for i := range room {
		room[i] = make([]byte, *size)
	}
	sent := make([]time.Time, *sockets)
	host := netip.MustParseAddr("127.0.0.1")
	for i := range sent {
		send(u, []sock.Message{{Data: make([]byte, *size), Addr: netip.AddrPortFrom(host, uint16(port+i))}})
		sent[i] = time.Now()
	}
	var latencies []float64
	began, messages, cpu := time.Time{}, 0, int64(0)
	start := time.Now()
	for looks := 0; ; looks++ {
		for i := range in {
			in[i].Data = room[i]
		}
		n, err := u.ReadBatch(in)
		if err != nil && err != sock.ErrWouldBlock {
			check(err)
		}
		now := time.Now()
		out = out[:0]
		for i := range n {
			at := int(in[i].Addr.Port()) - port
			stamp := int64(binary.LittleEndian.Uint64(in[i].Data))
			if stamp != 0 && !began.IsZero() {
				messages++
				latencies = append(latencies, float64(now.UnixNano()-stamp)/1e3)
			}
			sent[at] = now
			binary.LittleEndian.PutUint64(in[i].Data, uint64(now.UnixNano()))
			out = append(out, sock.Message{Data: in[i].Data[:*size], Addr: in[i].Addr})
		}
		send(u, out)
		switch {
		case began.IsZero() && now.Sub(start) > warmUp:
			began, cpu = now, cpuNanos(pid)
		case !began.IsZero() && now.Sub(began) > *duration:
			seconds := now.Sub(began).Seconds()
			slices.Sort(latencies)
			return result{
				rate: float64(messages) / seconds, cpuNanos: float64(cpuNanos(pid)-cpu) / float64(messages),
				p50: latencies[len(latencies)/2], p99: latencies[len(latencies)*99/100],
			}
		}
		if looks%10_000 == 0 {
			for i, at := range sent {
				if now.Sub(at) > lostAfter {
					sent[i] = now
					send(u, []sock.Message{{Data: make([]byte, *size), Addr: netip.AddrPortFrom(host, uint16(port+i))}})
				}
			}
		}
	}
}

func send(u *sock.UDPSocket, ms []sock.Message) {
	for len(ms) > 0 {
		n, err := u.WriteBatch(ms)
		if ms = ms[n:]; err != nil && err != sock.ErrWouldBlock {
			check(err)
		}
	}
}

// cpuNanos is the time on a processor of all threads of a process, by schedstat.
func cpuNanos(pid int) (sum int64) {
	threads, err := os.ReadDir(fmt.Sprintf("/proc/%d/task", pid))
	check(err)
	for _, t := range threads {
		b, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%s/schedstat", pid, t.Name()))
		if err != nil {
			continue // it has ended
		}
		n, _ := strconv.ParseInt(strings.Fields(string(b))[0], 10, 64)
		sum += n
	}
	return sum
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
