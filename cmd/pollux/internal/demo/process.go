package demo

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/pollux-io/pollux"
)

// A role is the task of a process of the demo.
type role string

const (
	slowServer role = "server"
	pollClient role = "poll"
	httpClient role = "http"
)

const (
	// reportMark begins the line with a client's figures; other lines are printed.
	reportMark = '\x1e'
	// maxStderr is how many bytes of a process's standard error are kept.
	maxStderr = 4 << 10
	// stopPatience is how long the output of a killed process may stay open.
	stopPatience = 5 * time.Second
)

// A process is a child process of the demo.
type process struct {
	role   role
	cmd    *exec.Cmd
	in     io.WriteCloser // is closed when this process ends, however it ends
	out    *bufio.Reader
	stderr tail
	kill   context.CancelFunc
	ctx    context.Context // of the demo
}

// start runs this program again, in the given role.
func start(ctx context.Context, r role, w work) (*process, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("find this program, to start it again: %w", err)
	}
	b, err := json.Marshal(w)
	if err != nil {
		return nil, err
	}
	running, kill := context.WithCancel(ctx)
	p := &process{role: r, cmd: exec.CommandContext(running, self, Part, string(r), string(b)), kill: kill, ctx: ctx}
	p.cmd.WaitDelay = stopPatience
	p.cmd.Stderr = &p.stderr
	if r == slowServer { // a forced backend applies to the clients, not to the server
		for _, e := range os.Environ() {
			if !strings.HasPrefix(e, pollux.BackendEnv+"=") {
				p.cmd.Env = append(p.cmd.Env, e)
			}
		}
	}
	out, err := p.cmd.StdoutPipe()
	if err == nil {
		p.in, err = p.cmd.StdinPipe()
	}
	if err == nil {
		err = p.cmd.Start()
	}
	if err != nil {
		kill()
		return nil, fmt.Errorf("start this program again: %w", err)
	}
	p.out = bufio.NewReader(out)
	return p, nil
}

// line reads the next line that the process prints.
func (p *process) line() (string, error) {
	line, err := p.out.ReadString('\n')
	if err == nil {
		return line, nil
	}
	p.stop()
	if p.interrupted() {
		return "", p.ctx.Err()
	}
	if s := strings.TrimSpace(string(p.stderr)); s != "" {
		return "", fmt.Errorf("the %s process ended early: %s", p.role, s)
	}
	return "", fmt.Errorf("the %s process ended early: %v", p.role, p.cmd.ProcessState)
}

// interrupted reports whether the demo is being ended. ^C signals all processes of a
// terminal, and may kill a child that does not ignore it yet, before this process gets it.
func (p *process) interrupted() bool {
	if s, ok := p.cmd.ProcessState.Sys().(syscall.WaitStatus); !ok || !s.Signaled() || s.Signal() != syscall.SIGINT {
		return p.ctx.Err() != nil
	}
	select {
	case <-p.ctx.Done():
		return true
	case <-time.After(stopPatience): // only the child was killed
		return false
	}
}

// stop ends the process and waits for it. A second stop does nothing.
func (p *process) stop() {
	p.kill()
	p.cmd.Wait()
	p.in.Close()
}

// tail keeps the last bytes written to it.
type tail []byte

// Write implements io.Writer.
func (t *tail) Write(b []byte) (int, error) {
	*t = append(*t, b...)
	*t = (*t)[max(0, len(*t)-maxStderr):]
	return len(b), nil
}

// startServer starts the slow server, and returns its address.
func startServer(ctx context.Context) (*process, string, error) {
	p, err := start(ctx, slowServer, work{})
	if err != nil {
		return nil, "", err
	}
	line, err := p.line()
	if err != nil {
		return nil, "", err
	}
	line = strings.TrimSpace(line)
	if line != "" && line[0] == reportMark {
		var f Figures
		err = json.Unmarshal([]byte(line[1:]), &f)
		p.stop()
		return nil, "", errors.Join(err, errors.New(f.Error))
	}
	return p, line, nil
}

// ignoreSignals leaves a terminal's signals to the parent process.
func ignoreSignals() { signal.Ignore(os.Interrupt, syscall.SIGHUP) }
