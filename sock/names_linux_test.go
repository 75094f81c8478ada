package sock_test

import (
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/pollux-io/pollux"
	"github.com/pollux-io/pollux/sock"
)

const maxName = 108 // sun_path (unix(7))

// uniqueNames returns unused names of each kind, in pairs for the two ends.
func uniqueNames(t *testing.T) [][2]string {
	t.Helper()
	t.Chdir(t.TempDir())
	var all [][2]string
	add := func(format string, long int) {
		var pair [2]string
		for i := range pair {
			id := fmt.Sprintf("%x%d", rand.Uint64(), i)
			name := fmt.Sprintf(format, id)
			pair[i] = name + strings.Repeat("x", max(long-len(name), 0))
		}
		all = append(all, pair)
	}
	add("@%s", 0)
	add("@%s", maxName) // 107 bytes after the zero
	add("@%s", maxName-1)
	add("@%s\x00", 0)
	add("@\x00%s\x00\x00", maxName)
	add("@\xff\xfe/%s\n", 0)
	add("@@%s", 0)
	add("@./%s", 0)
	add("%s", 0)
	add("%s", maxName-1)
	add("%s", maxName) // without a terminating zero
	add("./@%s", 0)    // a path, not an abstract name
	add("./@%s", maxName+2)
	return append(all, [2]string{"@", "@\x00"}) // abstract, of zero bytes and of one
}

// A name is any bytes up to the kernel's limit, and has the same form in every call that
// accepts or returns one.
func TestUnixNamesOfStreams(t *testing.T) {
	for _, pair := range uniqueNames(t) {
		name, own := pair[0], pair[1]
		l, err := sock.ListenUnix(name)
		if err != nil {
			t.Errorf("%q: %v", name, err)
			continue
		}
		c, err := sock.ConnectUnix(name, sock.LocalUnixAddr(own))
		must(t, err)
		var s *sock.UnixStream
		must(t, until(t, l, pollux.Readable, func() (err error) { s, err = l.Accept(); return err }))
		for what, got := range map[string][2]string{
			"listener's":             {l.Addr(), name},
			"client's own":           {c.LocalAddr(), own},
			"client's peer's":        {c.RemoteAddr(), name},
			"server's own":           {s.LocalAddr(), name},
			"server's peer's":        {s.RemoteAddr(), own},
			"client's own, as net":   {c.LocalNetAddr().(*net.UnixAddr).Name, own},
			"server's peer's as net": {s.RemoteNetAddr().(*net.UnixAddr).Name, own},
		} {
			if got[0] != got[1] {
				t.Errorf("%s name is %q, want %q", what, got[0], got[1])
			}
		}
		c.Close()
		s.Close()
		must(t, l.Close())
		if _, err := os.Lstat(name); err == nil {
			t.Errorf("Close has left %q", name)
		}
		os.Remove(own)
	}
}

func TestUnixNamesOfDatagrams(t *testing.T) {
	for _, pair := range uniqueNames(t) {
		a, err := sock.ListenUnixDatagram(pair[0])
		if err != nil {
			t.Errorf("%q: %v", pair[0], err)
			continue
		}
		b, err := sock.ConnectUnixDatagram(pair[0], sock.LocalUnixAddr(pair[1]))
		must(t, err)
		_, err = b.Write([]byte("ask"))
		must(t, err)
		buf := make([]byte, 10)
		_, from, err := a.ReadFrom(buf)
		must(t, err)
		if from != pair[1] || b.RemoteAddr() != pair[0] || a.LocalAddr() != pair[0] {
			t.Errorf("from %q to %q, want %q to %q", from, b.RemoteAddr(), pair[1], pair[0])
		}
		if _, err := a.WriteTo([]byte("answer"), from); err != nil {
			t.Errorf("answer to %q: %v", from, err)
			continue
		}
		if n, err := b.Read(buf); err != nil || string(buf[:n]) != "answer" {
			t.Errorf("%q, %v", buf[:n], err)
		}
		a.Close()
		b.Close()
		os.Remove(pair[0])
		os.Remove(pair[1])
	}
}

func TestUnixNamesTooLong(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{
		"@" + strings.Repeat("x", maxName),
		filepath.Join(dir, strings.Repeat("x", maxName)),
		"./@" + strings.Repeat("x", maxName),
	} {
		if _, err := sock.ListenUnix(name); err == nil || !strings.Contains(err.Error(), "too long") || !strings.Contains(err.Error(), "108") {
			t.Errorf("%d bytes: %v, want an error with the limit", len(name), err)
		}
	}
}

// A peer that the kernel has named (autobind, unix(7)) can be answered; an unnamed peer has
// the empty name.
func TestUnixAutobind(t *testing.T) {
	name := fmt.Sprintf("@%x", rand.Uint64())
	u, err := sock.ListenUnixDatagram(name)
	must(t, err)
	defer u.Close()
	p, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Net: "unixgram"})
	must(t, err)
	defer p.Close()
	_, err = p.WriteToUnix([]byte("ask"), &net.UnixAddr{Name: name, Net: "unixgram"})
	must(t, err)
	b := make([]byte, 10)
	_, from, err := u.ReadFrom(b)
	must(t, err)
	if len(from) != len("@00000") || from[0] != '@' {
		t.Errorf("from %q, want @ and five digits", from)
	}
	_, err = u.WriteTo([]byte("answer"), from)
	must(t, err)
	must(t, p.SetReadDeadline(time.Now().Add(patience)))
	if n, err := p.Read(b); err != nil || string(b[:n]) != "answer" {
		t.Errorf("%q, %v", b[:n], err)
	}
	nameless, err := sock.ConnectUnixDatagram(name)
	must(t, err)
	defer nameless.Close()
	_, err = nameless.Write([]byte("ask"))
	must(t, err)
	if _, from, err := u.ReadFrom(b); err != nil || from != "" {
		t.Errorf("from %q, %v, want no name", from, err)
	}
}
