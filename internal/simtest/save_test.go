package simtest

import (
	"encoding/json"
	"os"
	"testing"
	"time"

	"github.com/pollux-io/pollux/internal/simnet"
	"github.com/pollux-io/pollux/internal/testkit"
)

// saved is a program in a file, which -sim.program runs again.
type saved struct {
	Seed      uint64
	PeerHosts int
	Link      simnet.Link
	Faults    simnet.Faults
	Adversity int
	Setting   []int64
	Conns     []savedConn
	Steps     [][6]int64 // after, conn, end, op, n, from
}

type savedConn struct {
	Kind                          int
	Network                       string
	Group, PeerHost               int
	Small, Shared                 bool
	NoReadClosed, CloseOnShutdown [2]bool
	First                         int
	HalfFirst                     bool
}

// numbers returns pointers to all fields but linger.
func (s *setting) numbers() []*int {
	return []*int{&s.groups, &s.loops, &s.high, &s.low, &s.maxUnsent, &s.maxUnread, &s.readBudget, &s.idleBuffers, &s.maxConns}
}

// save writes p to a file in the directory, and returns its name.
func (p *program) save(dir string) (string, error) {
	s := saved{Seed: p.seed, PeerHosts: p.network.peerHosts, Link: p.network.link, Faults: p.network.faults, Adversity: p.network.adversity}
	s.Setting = append(s.Setting, int64(p.setting.linger))
	for _, x := range p.setting.numbers() {
		s.Setting = append(s.Setting, int64(*x))
	}
	for _, c := range p.conns {
		s.Conns = append(s.Conns, savedConn{int(c.kind), c.network, c.group, c.peerHost, c.small, c.shared, c.noReadClosed, c.closeOnShutdown, c.first, c.halfFirst})
	}
	for _, x := range p.steps {
		s.Steps = append(s.Steps, [6]int64{int64(x.after), int64(x.conn), int64(x.end), int64(x.op), int64(x.n), int64(x.from)})
	}
	b, err := json.MarshalIndent(s, "", " ")
	if err != nil {
		return "", err
	}
	f, err := os.CreateTemp(dir, "program-*.json")
	if err != nil {
		return "", err
	}
	if _, err := f.Write(b); err != nil {
		f.Close()
		return "", err
	}
	return f.Name(), f.Close()
}

// load reads a program from a file.
func load(file string) (*program, error) {
	b, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	var s saved
	if err := json.Unmarshal(b, &s); err != nil {
		return nil, err
	}
	p := &program{seed: s.Seed, network: network{s.PeerHosts, s.Link, s.Faults, s.Adversity}}
	p.setting.linger = time.Duration(s.Setting[0])
	for i, x := range p.setting.numbers() {
		*x = int(s.Setting[1+i])
	}
	for _, c := range s.Conns {
		p.conns = append(p.conns, connection{kind(c.Kind), c.Network, c.Group, c.PeerHost, c.Small, c.Shared, c.NoReadClosed, c.CloseOnShutdown, c.First, c.HalfFirst})
	}
	for _, x := range s.Steps {
		p.steps = append(p.steps, step{time.Duration(x[0]), int(x[1]), int(x[2]), op(x[3]), int(x[4]), from(x[5])})
	}
	return p, nil
}

// TestSave checks that a program in a file is the same program.
func TestSave(t *testing.T) {
	for seed := range uint64(20) {
		p := draw(seed)
		file, err := p.save(testkit.TempDir(t))
		if err != nil {
			t.Fatal(err)
		}
		q, err := load(file)
		if err != nil {
			t.Fatal(err)
		}
		if q.seed != seed || !p.equal(q) {
			t.Errorf("seed %d: the program differs:\n%v\n%v", seed, p, q)
		}
	}
}
