package main

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// sample has the measurements of one run of wrk.
type sample struct {
	requests  int
	cpuMicros float64 // of the server, a request
	rate      float64 // requests a second
	p50, p99  float64 // milliseconds
}

var (
	requestsLine = regexp.MustCompile(`(\d+) requests in `)
	rateLine     = regexp.MustCompile(`Requests/sec: +([\d.]+)`)
	latencyLine  = regexp.MustCompile(`(50|99)% +([\d.]+[a-z]+)`)
	errorLine    = regexp.MustCompile(`(Socket errors|Non-2xx).*`)
)

// load loads the server for a second, and returns the measurements. An error of a request ends the program: it is not
// a measurement.
func (s *server) load(pinned bool) sample {
	before := s.cpuNanos()
	wrk := command(pinned, loadCPU, "wrk", "-t", "1", "-c", fmt.Sprint(*conns), "-d", "1s", "--latency", "http://"+s.addr+*path)
	out, err := wrk.CombinedOutput()
	if err != nil {
		fatal("%v: %v; install it, on Debian: apt install wrk\n%s", wrk, err, out)
	}
	took := s.cpuNanos() - before
	text := string(out)
	if bad := errorLine.FindString(text); bad != "" {
		fatal("%v: %s", wrk, bad)
	}
	requests, rate := requestsLine.FindStringSubmatch(text), rateLine.FindStringSubmatch(text)
	if requests == nil || rate == nil {
		fatal("%v: the output has no rate\n%s", wrk, text)
	}
	var m sample
	m.requests, err = strconv.Atoi(requests[1])
	check(err)
	m.rate, err = strconv.ParseFloat(rate[1], 64)
	check(err)
	if m.requests == 0 {
		fatal("%v: no request was answered", wrk)
	}
	m.cpuMicros = float64(took) / 1e3 / float64(m.requests)
	for _, l := range latencyLine.FindAllStringSubmatch(text, -1) {
		d, err := time.ParseDuration(strings.Replace(l[2], "us", "µs", 1))
		check(err)
		if ms := d.Seconds() * 1e3; l[1] == "50" {
			m.p50 = ms
		} else {
			m.p99 = ms
		}
	}
	return m
}
