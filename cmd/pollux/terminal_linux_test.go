package main

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/pollux-io/pollux/cmd/pollux/internal/demo"
	"github.com/pollux-io/pollux/cmd/pollux/internal/nameserver"
	"github.com/pollux-io/pollux/cmd/pollux/internal/termtest"
	"github.com/pollux-io/pollux/dns"
)

// The echo of ^C on a terminal is erased.
func TestInterruptLeavesNoEcho(t *testing.T) {
	url, begun := endless(t)
	silent := nameserver.Start(t, func(string, dns.Type) nameserver.Reply { return nameserver.Reply{Silent: true} }).String()
	for name, c := range map[string]struct {
		args        []string
		out         bool   // standard output is the terminal, too
		waits       bool   // for the server
		first, last string // before and after ^C
	}{
		"bar":    {[]string{"fetch", "-o", "out", url + "1", url + "2"}, false, true, "0/2", "\npollux: interrupted: 0 of 2 fetched"},
		"lines":  {[]string{"fetch", "--no-progress", "-o", "out", url + "1", url + "2"}, true, true, "", "pollux: interrupted: 0 of 2 fetched"},
		"stream": {[]string{"fetch", url + "1"}, true, true, "hello", "hello\npollux: interrupted: 0 of 1 fetched"},
		"names":  {[]string{"resolve", "--server", silent, "--timeout", "1h", "a.test.", "b.test."}, false, false, "0% 0 resolved [---", "\npollux: interrupted: 0 of 2 resolved"},
		"demo":   {[]string{"demo", "--delay", "1h"}, true, false, "", "\npollux: interrupted"},
	} {
		t.Run(name, func(t *testing.T) {
			control, terminal, screen, drawn := termtest.Pty(t, 80)
			p := program(t, c.args...)
			p.Dir = t.TempDir()
			p.Env = append(p.Env, "TERM=xterm")
			p.Stdin, p.Stderr = terminal, terminal
			if c.out {
				p.Stdout = terminal
			}
			p.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
			if err := p.Start(); err != nil {
				t.Fatal(err)
			}
			terminal.Close()
			if c.waits {
				for range strings.Count(strings.Join(c.args, " "), "http://") {
					<-begun
				}
			}
			for !strings.Contains(screen.String(), c.first) || name != "lines" && screen.String() == "" {
				select {
				case <-drawn:
					t.Fatalf("the program has ended: %q", screen)
				default:
					runtime.Gosched()
				}
			}
			if name == "demo" {
				awaitChild(t, p.Process.Pid, drawn)
			}
			control.Write([]byte{'C' - '@'})
			p.Wait()
			<-drawn
			got := screen.String()
			if !strings.Contains("\n"+got, c.last) || strings.Contains(got, "^C") || p.ProcessState.ExitCode() != exitSignal+int(syscall.SIGINT) {
				t.Errorf("%v: %q, want %q", p.ProcessState, got, c.last)
			}
			if last := got[strings.LastIndex(strings.TrimRight(got, "\n"), "\n")+1:]; !strings.HasPrefix(last, "pollux: interrupted") {
				t.Errorf("last line %q of %q", last, got)
			}
			left, _ := os.ReadDir(p.Dir + "/out")
			if len(left) > 0 {
				t.Errorf("left behind: %v", left)
			}
		})
	}
}

// awaitChild waits until a process has started another one (/proc/PID/task/TID/children, proc(5)). A signal that comes while
// package os finds out, before the first start, whether pidfds work also reaches the child that it clones for that, which
// shares memory with this process: Go 1.26 may crash then.
func awaitChild(t *testing.T, pid int, ended <-chan struct{}) {
	t.Helper()
	if _, err := os.Stat("/proc/self/task/" + strconv.Itoa(os.Getpid()) + "/children"); err != nil {
		t.Logf("not waited for a child: this kernel does not list them: %v", err)
		return
	}
	for {
		lists, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid))
		for _, list := range lists {
			if b, err := os.ReadFile(list); err == nil && len(b) > 0 {
				if args, _ := os.ReadFile("/proc/" + strings.Fields(string(b))[0] + "/cmdline"); strings.Contains(string(args), demo.Part) {
					return
				}
			}
		}
		select {
		case <-ended:
			t.Fatal("the program has ended")
		default:
			runtime.Gosched()
		}
	}
}

// On a terminal, the progress of a list and the failures appear while the answers go elsewhere.
func TestResolveProgress(t *testing.T) {
	_, terminal, screen, drawn := termtest.Pty(t, 100)
	server := nameserver.Start(t, testZone).String()
	p := program(t, "resolve", "--server", server, "--type", "A", "both.test.", "nobody.test.")
	p.Env = append(p.Env, "TERM=xterm")
	p.Stderr = terminal
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
	terminal.Close()
	p.Wait()
	<-drawn
	lines := strings.Split(strings.TrimRight(screen.String(), "\n"), "\n")
	if len(lines) != 3 || !strings.HasPrefix(lines[0], "pollux: nobody.test. A: no such name; check the spelling") ||
		!strings.HasPrefix(lines[1], "100% 1 resolved, 1 failed ["+strings.Repeat("=", 20)) || !strings.HasPrefix(lines[2], "pollux: 1 of 2 resolved in ") {
		t.Errorf("%q", lines)
	}
}
