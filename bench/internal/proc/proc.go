// Package proc reads figures of other processes on Linux, for the benchmarks.
package proc

import (
	"fmt"
	"os"
	"strconv"
	"strings"
)

// CPUNanos returns how long the threads of a process have run on a processor (schedstat,
// proc(5)).
func CPUNanos(pid int) (sum int64, err error) {
	dir := fmt.Sprintf("/proc/%d/task", pid)
	threads, err := os.ReadDir(dir)
	if err != nil {
		return 0, err
	}
	for _, t := range threads {
		b, err := os.ReadFile(dir + "/" + t.Name() + "/schedstat")
		if err != nil {
			continue // the thread has ended
		}
		first, _, _ := strings.Cut(string(b), " ")
		n, _ := strconv.ParseInt(first, 10, 64)
		sum += n
	}
	return sum, nil
}

// AnonBytes returns the anonymous memory of a process that is in use (RssAnon, proc(5)).
func AnonBytes(pid int) (int64, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, err
	}
	_, after, ok := strings.Cut(string(b), "RssAnon:")
	fields := strings.Fields(after)
	if !ok || len(fields) == 0 {
		return 0, fmt.Errorf("no RssAnon in the status of process %d", pid)
	}
	n, err := strconv.ParseInt(fields[0], 10, 64)
	return n << 10, err
}
