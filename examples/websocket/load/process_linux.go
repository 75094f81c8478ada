package main

import (
	"fmt"
	"os"
	"strings"
	"syscall"
	"time"
)

// ticks is the unit of the times in proc_pid_stat(5): sysconf(_SC_CLK_TCK) is 100 on every Linux.
const ticks = time.Second / 100

// usageOf reads what a process has used: RssAnon of proc_pid_status(5), utime and stime of
// proc_pid_stat(5).
func usageOf(pid int) (u usage) {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return usage{}
	}
	if _, after, ok := strings.Cut(string(status), "RssAnon:"); ok {
		var kilobytes int64
		fmt.Sscan(after, &kilobytes)
		u.memory = kilobytes << 10
	}
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return usage{}
	}
	// The name, in parentheses, may have spaces; utime and stime are the 12th and 13th field after it.
	fields := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')')+1:]))
	const utime, stime = 11, 12
	if len(fields) <= stime {
		return usage{}
	}
	var user, system int64
	fmt.Sscan(fields[utime], &user)
	fmt.Sscan(fields[stime], &system)
	u.time = time.Duration(user+system) * ticks
	return u
}

// maxDescriptors returns how many descriptors this process may have, or 0 if that is not known.
func maxDescriptors() int {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return 0
	}
	return int(min(limit.Cur, 1<<30))
}
