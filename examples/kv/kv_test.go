package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

const patience = time.Minute

type running struct {
	server *server
	addr   string
}

// start starts a server for a test.
func start(t testing.TB, o options) running {
	t.Helper()
	if o.loops == 0 {
		o.loops = 1
	}
	if o.maxBulk == 0 {
		o.maxBulk = testMaxBulk
	}
	s, err := newServer(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := s.group.Shutdown(ctx); err != nil {
			t.Error(err)
		}
	})
	ln, err := s.group.Listen("tcp", "127.0.0.1:0", s.accept)
	if err != nil {
		t.Fatal(err)
	}
	return running{s, ln.Addr().String()}
}

type testClient struct {
	t testing.TB
	*net.TCPConn
	r *bufio.Reader
}

func dial(t testing.TB, addr string) *testClient {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(patience))
	return &testClient{t, c.(*net.TCPConn), bufio.NewReader(c)}
}

func (c *testClient) send(s string) {
	c.t.Helper()
	if _, err := io.WriteString(c, s); err != nil {
		c.t.Fatal(err)
	}
}

// reply reads one reply, unparsed.
func (c *testClient) reply() string {
	c.t.Helper()
	line, err := c.r.ReadString('\n')
	if err != nil {
		c.t.Fatalf("after %q: %v", line, err)
	}
	n, _ := strconv.Atoi(strings.TrimSpace(line[1:]))
	switch {
	case line[0] == '$' && n >= 0:
		body := make([]byte, n+len(crlf))
		if _, err := io.ReadFull(c.r, body); err != nil {
			c.t.Fatal(err)
		}
		line += string(body)
	case line[0] == '*':
		for range n {
			line += c.reply()
		}
	}
	return line
}

func (c *testClient) do(args ...string) string {
	c.t.Helper()
	c.send(resp(args...))
	return c.reply()
}

// resp encodes a command.
func resp(args ...string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "*%d\r\n", len(args))
	for _, a := range args {
		fmt.Fprintf(&b, "$%d\r\n%s\r\n", len(a), a)
	}
	return b.String()
}

// transcript has commands and their replies, in one connection, on an empty store.
var transcript = []struct{ command, want string }{
	{"PING", "+PONG\r\n"},
	{"ping hello", "$5\r\nhello\r\n"},
	{"PING a b", "-ERR wrong number of arguments for 'ping' command\r\n"},
	{"ECHO hello", "$5\r\nhello\r\n"},
	{"NOSUCH a b", "-ERR unknown command 'NOSUCH', with args beginning with: 'a' 'b' \r\n"},
	{"SELECT 0", "+OK\r\n"},
	{"SELECT x", "-ERR value is not an integer or out of range\r\n"},
	{"SELECT 16", "-ERR DB index is out of range\r\n"},
	{"CLIENT GETNAME", "$-1\r\n"},
	{"CLIENT SETNAME me", "+OK\r\n"},
	{"CLIENT GETNAME", "$2\r\nme\r\n"},

	{"GET a", "$-1\r\n"},
	{"GET", "-ERR wrong number of arguments for 'get' command\r\n"},
	{"SET a 1", "+OK\r\n"},
	{"GET a", "$1\r\n1\r\n"},
	{"SET a 2 NX", "$-1\r\n"},
	{"SET b 2 XX", "$-1\r\n"},
	{"SET a 3 XX", "+OK\r\n"},
	{"SET a 4 GET", "$1\r\n3\r\n"},
	{"SET c 4 GET", "$-1\r\n"},
	{"SET a 5 NX GET", "$1\r\n4\r\n"},
	{"SET a 5 NX XX", "-ERR syntax error\r\n"},
	{"SET a 5 EX", "-ERR syntax error\r\n"},
	{"SET a 5 EX 1 PX 1", "-ERR syntax error\r\n"},
	{"SET a 5 KEEPTTL EX 1", "-ERR syntax error\r\n"},
	{"SET a 5 EX x", "-ERR value is not an integer or out of range\r\n"},
	{"SET a 5 EX 0", "-ERR invalid expire time in 'set' command\r\n"},
	{"SET a 5 EX -1", "-ERR invalid expire time in 'set' command\r\n"},
	{"SET a 5 EX 9223372036854775807", "-ERR invalid expire time in 'set' command\r\n"},
	{"SET a 5 BOGUS", "-ERR syntax error\r\n"},
	{"GET a", "$1\r\n4\r\n"},
	{"TYPE a", "+string\r\n"},
	{"TYPE nosuch", "+none\r\n"},

	{"SET t x EX 100", "+OK\r\n"},
	{"TTL t", ":100\r\n"},
	{"SET t y KEEPTTL", "+OK\r\n"},
	{"TTL t", ":100\r\n"},
	{"SET t y", "+OK\r\n"},
	{"TTL t", ":-1\r\n"},
	{"PTTL nosuch", ":-2\r\n"},
	{"EXPIRE t 50", ":1\r\n"},
	{"TTL t", ":50\r\n"},
	{"PEXPIRE t 70000", ":1\r\n"},
	{"TTL t", ":70\r\n"},
	{"PERSIST t", ":1\r\n"},
	{"PERSIST t", ":0\r\n"},
	{"PERSIST nosuch", ":0\r\n"},
	{"EXPIRE nosuch 1", ":0\r\n"},
	{"EXPIRE t x", "-ERR value is not an integer or out of range\r\n"},
	{"EXPIRE t 9223372036854775807", "-ERR invalid expire time in 'expire' command\r\n"},
	{"EXPIRE t -1", ":1\r\n"},
	{"EXISTS t", ":0\r\n"},

	{"INCR n", ":1\r\n"},
	{"INCRBY n 41", ":42\r\n"},
	{"DECR n", ":41\r\n"},
	{"DECRBY n 50", ":-9\r\n"},
	{"DECRBY n -9223372036854775808", "-ERR decrement would overflow\r\n"},
	{"INCRBY n x", "-ERR value is not an integer or out of range\r\n"},
	{"GET n", "$2\r\n-9\r\n"},
	{"SET n 9223372036854775807", "+OK\r\n"},
	{"INCR n", "-ERR increment or decrement would overflow\r\n"},
	{"SET n 007", "+OK\r\n"},
	{"INCR n", "-ERR value is not an integer or out of range\r\n"},

	{"MSET a 1 b 2 c 3", "+OK\r\n"},
	{"MSET a 1 b", "-ERR wrong number of arguments for 'mset' command\r\n"},
	{"MGET a nosuch c", "*3\r\n$1\r\n1\r\n$-1\r\n$1\r\n3\r\n"},
	{"EXISTS a a nosuch", ":2\r\n"},
	{"DEL a a nosuch", ":1\r\n"},
	{"DEL n b", ":2\r\n"},
	{"DBSIZE", ":1\r\n"},
	{"KEYS *", "*1\r\n$1\r\nc\r\n"},
	{"KEYS [d-z]", "*0\r\n"},
	{"FLUSHDB", "+OK\r\n"},
	{"FLUSHALL ASYNC", "+OK\r\n"},
	{"DBSIZE", ":0\r\n"},
	{"CONFIG GET save", "*2\r\n$4\r\nsave\r\n$0\r\n\r\n"},
	{"CONFIG GET nosuch", "*0\r\n"},
	{"QUIT", "+OK\r\n"},
}

// playTranscript sends every command as RESP, waiting for each reply, then all together as
// inline commands.
func playTranscript(t *testing.T, addr string) {
	t.Helper()
	c := dial(t, addr)
	var all strings.Builder
	for _, line := range transcript {
		if got := c.do(strings.Fields(line.command)...); got != line.want {
			t.Errorf("%s: %q, want %q", line.command, got, line.want)
		}
		all.WriteString(line.command + "\r\n")
	}
	c = dial(t, addr)
	c.send(all.String())
	for _, line := range transcript {
		if got := c.reply(); got != line.want {
			t.Errorf("pipelined, %s: %q, want %q", line.command, got, line.want)
		}
	}
	if rest, err := io.ReadAll(c.r); len(rest) > 0 || err != nil {
		t.Errorf("after QUIT: %q, %v", rest, err)
	}
}

func TestCommands(t *testing.T) {
	for _, loops := range []int{1, 3} {
		t.Run(fmt.Sprint("loops=", loops), func(t *testing.T) {
			playTranscript(t, start(t, options{loops: loops}).addr)
		})
	}
}

// inlineTests are inline commands with one word and the reply of ECHO to it; or with
// unbalanced quotes.
var inlineTests = []struct {
	word, want string
	unbalanced bool
}{
	{`plain`, "plain", false},
	{`"two words"`, "two words", false},
	{`'two words'`, "two words", false},
	{`""`, "", false},
	{`''`, "", false},
	{`"\n\r\t\b\a"`, "\n\r\t\b\a", false},
	{`"\\ \" \q \0"`, `\ " q 0`, false},
	{`"\x41\x7a\xfF\x00"`, "Az\xff\x00", false},
	{`"\x4"`, "x4", false},
	{`"\xzz \x"`, "xzz x", false},
	{`'\n \x41 "'`, `\n \x41 "`, false},
	{`'it\'s'`, "it's", false},
	{`'\\'`, "", true},
	{`'a\\b'`, `a\\b`, false},
	{`a\n"b c"`, `a\nb c`, false},
	{`a"b"`, "ab", false},
	{`a'b c'`, "ab c", false},
	{"a\vb", "a\vb", false},
	{"\v\f a", "a", false},
	{"\"a\tb\"", "a\tb", false},

	{`"`, "", true},
	{`'`, "", true},
	{`"a`, "", true},
	{`a"`, "", true},
	{`"a'`, "", true},
	{`"a\"`, "", true},
	{`"a\`, "", true},
	{`'a\'`, "", true},
	{`"a"b`, "", true},
	{`"a""b"`, "", true},
	{`'a'b`, "", true},
}

// playInline sends each of inlineTests on its own connection.
func playInline(t *testing.T, addr string) {
	t.Helper()
	for _, test := range inlineTests {
		c := dial(t, addr)
		c.send("ECHO " + test.word + "\r\n")
		want := fmt.Sprintf("$%d\r\n%s\r\n", len(test.want), test.want)
		if test.unbalanced {
			want = "-ERR Protocol error: unbalanced quotes in request\r\n"
		}
		if got := c.reply(); got != want {
			t.Errorf("%s: %q, want %q", test.word, got, want)
		}
		if test.unbalanced {
			if rest, err := io.ReadAll(c.r); len(rest) > 0 || err != nil {
				t.Errorf("%s: the connection is not closed: %q, %v", test.word, rest, err)
			}
		}
	}
}

func TestInline(t *testing.T) { playInline(t, start(t, options{}).addr) }

// Redis parses inline commands in the same way.
func TestRedisInline(t *testing.T) { playInline(t, startRedis(t)) }

// Redis sends the replies that TestCommands expects, byte for byte.
func TestRedisAgrees(t *testing.T) { playTranscript(t, startRedis(t)) }

const (
	// redisTries is the number of tries: the free port may be taken before Redis binds it.
	redisTries    = 5
	redisPatience = time.Minute
)

func startRedis(t *testing.T) (addr string) {
	t.Helper()
	program, err := exec.LookPath("redis-server")
	if err != nil {
		t.Skip("skipped: redis-server is not installed (Debian: redis-server)")
	}
	var output string
	for range redisTries {
		addr := freeAddr(t)
		var ok bool
		if output, ok = tryRedis(t, program, addr); ok {
			return addr
		}
	}
	t.Fatalf("redis-server is not ready after %d tries; its last output:\n%s", redisTries, output)
	return ""
}

func freeAddr(t *testing.T) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	return ln.Addr().String()
}

// tryRedis starts Redis for a test. It returns false if the address was taken.
func tryRedis(t *testing.T, program, addr string) (output string, ok bool) {
	t.Helper()
	host, port, _ := net.SplitHostPort(addr)
	cmd := exec.Command(program, "--port", port, "--bind", host, "--save", "", "--appendonly", "no", "--dir", t.TempDir())
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stderr = cmd.Stdout
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	ready, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		for s, once := bufio.NewScanner(out), sync.OnceFunc(func() { close(ready) }); s.Scan(); {
			b.WriteString(s.Text() + "\n")
			if strings.Contains(s.Text(), "Ready to accept connections") {
				once()
			}
		}
	}()
	end := func() string {
		cmd.Process.Kill()
		<-ended
		cmd.Wait()
		return b.String()
	}
	select {
	case <-ready:
	case <-ended:
		return end(), false
	case <-time.After(redisPatience):
		return end(), false
	}
	t.Cleanup(func() {
		if output := end(); t.Failed() {
			t.Logf("output of redis-server:\n%s", output)
		}
	})
	return "", true
}

// If the port is taken, tryRedis returns false and the error of Redis.
func TestRedisPortTaken(t *testing.T) {
	program, err := exec.LookPath("redis-server")
	if err != nil {
		t.Skip("skipped: redis-server is not installed (Debian: redis-server)")
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	if output, ok := tryRedis(t, program, ln.Addr().String()); ok || !strings.Contains(output, "in use") {
		t.Errorf("tryRedis on a taken port: %t, %s", ok, output)
	}
}

// A pipeline of any length gets its replies in order, while the client does not read
// until it has sent everything.
func TestPipeline(t *testing.T) {
	c := dial(t, start(t, options{}).addr)
	const n = 20_000
	var all bytes.Buffer
	for i := range n {
		all.WriteString(resp("SET", fmt.Sprint("k", i%100), fmt.Sprint(i)) + resp("GET", fmt.Sprint("k", i%100)))
	}
	go c.Write(all.Bytes())
	for i := range n {
		if got := c.reply(); got != "+OK\r\n" {
			t.Fatalf("SET %d: %q", i, got)
		}
		v := fmt.Sprint(i)
		if got, want := c.reply(), fmt.Sprintf("$%d\r\n%s\r\n", len(v), v); got != want {
			t.Fatalf("GET %d: %q", i, got)
		}
	}
}

// A client that requests much and does not read does not fill the memory: its commands wait,
// and all are answered once it reads.
func TestSlowReader(t *testing.T) {
	r := start(t, options{})
	value := strings.Repeat("v", 100_000)
	dial(t, r.addr).do("SET", "k", value)
	c := dial(t, r.addr)
	const n = 500 // 50 MB of replies
	go c.send(strings.Repeat("GET k\r\n", n) + "PING\r\n")

	most := 0
	for i := range n {
		if got := len(c.reply()); got < len(value) {
			t.Fatalf("reply %d has %d bytes", i, got)
		}
		if i%50 == 0 {
			most = max(most, r.server.group.Stats().Loops[0].UnsentBytes)
		}
	}
	if got := c.reply(); got != "+PONG\r\n" {
		t.Errorf("at the end: %q", got)
	}
	if limit := maxUnsent + batchBytes + len(value) + maxLength; most > limit {
		t.Errorf("%d bytes were unsent, want at most %d", most, limit)
	}
}

// A reply that would be too long is replaced by an error, and the connection stays open.
func TestReplyTooLong(t *testing.T) {
	c := dial(t, start(t, options{}).addr)
	c.do("SET", "k", strings.Repeat("v", testMaxBulk))
	if got := c.do(append([]string{"MGET"}, strings.Fields(strings.Repeat("k ", 70))...)...); !strings.HasPrefix(got, "-ERR the reply would be too long") {
		t.Errorf("%.50q", got)
	}
	if got := c.do("PING"); got != "+PONG\r\n" {
		t.Errorf("after the error: %q", got)
	}
}

func TestMaxMemory(t *testing.T) {
	c := dial(t, start(t, options{maxMemory: 10_000}).addr)
	if got := c.do("SET", "k", strings.Repeat("v", 20_000)); !strings.HasPrefix(got, "-OOM ") {
		t.Errorf("SET of more than the bound: %q", got)
	}
	c.do("SET", "k", strings.Repeat("v", 9_850))
	if got := c.do("SET", "k2", "v"); !strings.HasPrefix(got, "-OOM ") {
		t.Errorf("SET: %q", got)
	}
	if got := c.do("DEL", "k"); got != ":1\r\n" {
		t.Errorf("DEL: %q", got)
	}
	if got := c.do("SET", "k2", "v"); got != "+OK\r\n" {
		t.Errorf("SET: %q", got)
	}
}

// Keys expire at their time, not before, and are removed although no command reads them.
func TestExpiry(t *testing.T) {
	r := start(t, options{loops: 2})
	c := dial(t, r.addr)
	c.do("SET", "stays", "x", "PX", "40")
	c.do("PERSIST", "stays")
	c.do("SET", "again", "x", "PX", "40")
	c.do("SET", "again", "x")
	c.do("SET", "moved", "x", "PX", "40")
	c.do("EXPIRE", "moved", "100")
	const n = 1000
	began := time.Now()
	for i := range n {
		c.do("SET", fmt.Sprint("k", i), "x", "PX", "40")
	}
	db := r.server.db
	size := func() (keys, bytes int) {
		db.Lock()
		defer db.Unlock()
		return len(db.entries), int(db.bytes)
	}
	for keys, _ := size(); keys > 3; keys, _ = size() {
		if time.Since(began) > patience {
			t.Fatalf("%d keys are left", keys)
		}
		time.Sleep(time.Millisecond)
	}
	if took := time.Since(began); took < 40*time.Millisecond {
		t.Errorf("expired after %v", took)
	}
	for _, key := range []string{"stays", "again", "moved"} {
		if got := c.do("EXISTS", key); got != ":1\r\n" {
			t.Errorf("%s: %q", key, got)
		}
	}
	if got := c.do("PTTL", "k1"); got != ":-2\r\n" {
		t.Errorf("PTTL: %q", got)
	}
	c.do("FLUSHALL")
	if keys, bytes := size(); keys != 0 || bytes != 0 {
		t.Errorf("%d keys and %d bytes in an empty store", keys, bytes)
	}
}

// An expired key is not found, even if its timer is late.
func TestExpiryBeforeTimer(t *testing.T) {
	r := start(t, options{})
	c := dial(t, r.addr)
	c.do("SET", "k", "x", "EX", "100")
	r.server.db.Lock()
	late := r.server.db.now() + 100*time.Second
	r.server.db.now = func() time.Duration { return late }
	r.server.db.Unlock()
	if got := c.do("KEYS", "*"); got != "*0\r\n" {
		t.Errorf("KEYS: %q", got)
	}
	if got := c.do("GET", "k"); got != "$-1\r\n" {
		t.Errorf("GET: %q", got)
	}
}

// Invalid input gets an error, and the connection is closed.
func TestGarbage(t *testing.T) {
	addr := start(t, options{}).addr
	for _, test := range parserTests {
		if test.err == "" {
			continue
		}
		c := dial(t, addr)
		c.send(test.input)
		got, err := io.ReadAll(c.r)
		if err != nil || !strings.HasSuffix(string(got), "-ERR Protocol error: "+test.err+"\r\n") {
			t.Errorf("%.40q: %q, %v", test.input, got, err)
		}
	}
	if got := dial(t, addr).do("PING"); got != "+PONG\r\n" {
		t.Errorf("afterwards, PING: %q", got)
	}
}

func TestMaxBulkRange(t *testing.T) {
	for _, n := range []int{-1, 0, maxMaxBulk + 1} {
		if s, err := newServer(options{loops: 1, maxBulk: n}); err == nil {
			s.group.Shutdown(t.Context())
			t.Errorf("--max-bulk %d is accepted", n)
		}
	}
	for _, n := range []int{1, maxMaxBulk} {
		c := dial(t, start(t, options{maxBulk: n}).addr)
		if got := c.do("*"); !strings.HasPrefix(got, "-ERR unknown command") {
			t.Errorf("--max-bulk %d: %q", n, got)
		}
	}
}

// mainEnv makes TestArgument run main.
const mainEnv = "KV_TEST_MAIN"

func TestArgument(t *testing.T) {
	if os.Getenv(mainEnv) != "" {
		os.Args = []string{"kv", "--listen", "nonsense", "junk"}
		main()
		return
	}
	cmd := exec.Command(os.Args[0], "-test.run=^TestArgument$")
	cmd.Env = append(os.Environ(), mainEnv+"=1")
	if out, err := cmd.CombinedOutput(); err == nil || !strings.Contains(string(out), `unexpected argument "junk"`) {
		t.Errorf("%v\n%s", err, out)
	}
}

// Requests that a web page can make a browser send run no command in their body.
func TestHTTPRejected(t *testing.T) { playHTTP(t, start(t, options{}).addr) }

func TestRedisHTTPRejected(t *testing.T) { playHTTP(t, startRedis(t)) }

func playHTTP(t *testing.T, addr string) {
	for _, head := range []string{"POST / HTTP/1.1\r\n", "post / HTTP/1.1\n", "PUT / HTTP/1.1\r\nHost: x\r\n", "GET / HTTP/1.1\r\nhost: x\r\n"} {
		c := dial(t, addr)
		c.send(head + "Accept: */*\r\n\r\nx\r\nSET pwned 1\r\n")
		if got, err := io.ReadAll(c.r); errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("%q: the connection is not closed after %q", head, got)
		}
		if got := dial(t, addr).do("GET", "pwned"); got != "$-1\r\n" {
			t.Errorf("%q: pwned is %q", head, got)
		}
	}
}

// The connection of a client that half-closes in the middle of a command is closed; its
// earlier commands are answered.
func TestHalfSent(t *testing.T) {
	c := dial(t, start(t, options{}).addr)
	c.send("PING\r\n*2\r\n$3\r\nGET\r\n$1000\r\nhalf")
	c.CloseWrite()
	if got, err := io.ReadAll(c.r); string(got) != "+PONG\r\n" || err != nil {
		t.Errorf("%q, %v", got, err)
	}
}

// An argument of the maximum length is stored and returned.
func TestMaxBulk(t *testing.T) {
	c := dial(t, start(t, options{}).addr)
	value := strings.Repeat("v", testMaxBulk)
	if got := c.do("SET", "k", value); got != "+OK\r\n" {
		t.Fatalf("SET: %q", got)
	}
	if got := c.do("GET", "k"); got != fmt.Sprintf("$%d\r\n%s\r\n", testMaxBulk, value) {
		t.Errorf("GET: %d bytes", len(got))
	}
}

func tool(t *testing.T, name string, args ...string) string {
	t.Helper()
	if _, err := exec.LookPath(name); err != nil {
		t.Skipf("skipped: %s is not installed (Debian: redis-tools)", name)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	out, err := exec.CommandContext(ctx, name, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%s", name, err, out)
	}
	return string(out)
}

// sides returns the addresses of this server and of Redis.
func sides(t *testing.T, o options) map[string]string {
	t.Helper()
	ports := map[string]string{}
	for name, addr := range map[string]string{"kv": start(t, o).addr, "redis": startRedis(t)} {
		_, ports[name], _ = net.SplitHostPort(addr)
	}
	return ports
}

// redis-cli prints the same for both servers.
func TestRedisCLI(t *testing.T) {
	ports := sides(t, options{})
	for _, command := range []string{
		"PING", "PING hello", "ECHO hello", "SET k v EX 100", "SET k w NX", "SET k2 w NX PX 100000", "SET k2 v2 XX", "SET k3 v XX",
		"GET k", "GET nosuch", "TTL k", "TTL nosuch", "EXPIRE k 50", "TTL k", "MSET a 1 b 2", "MGET a b nosuch", "EXISTS a b nosuch",
		"INCR a", "INCR k", "DEL a nosuch", "DBSIZE", "KEYS k2", "SET k", "GET", "SET k v EX x", "FLUSHALL", "DBSIZE", "QUIT",
	} {
		got := map[string]string{}
		for name, port := range ports {
			got[name] = strings.TrimSpace(tool(t, "redis-cli", append([]string{"-p", port}, strings.Fields(command)...)...))
		}
		if got["kv"] != got["redis"] {
			t.Errorf("%s: %q, Redis has %q", command, got["kv"], got["redis"])
		}
	}
	if got := tool(t, "redis-cli", "-p", ports["kv"], "COMMAND", "COUNT"); strings.TrimSpace(got) != strconv.Itoa(len(commands)) {
		t.Errorf("COMMAND COUNT: %s", got)
	}
	if got := tool(t, "redis-cli", "-p", ports["kv"], "INFO"); !strings.Contains(got, "db0:keys=0") {
		t.Errorf("INFO: %s", got)
	}
	if got := tool(t, "redis-cli", "-p", ports["kv"], "COMMAND"); !strings.Contains(got, "flushall") {
		t.Errorf("COMMAND: %s", got)
	}
}

// redis-benchmark checks the replies; it reports no error for either server, and
// leaves the same number of keys in both.
func TestRedisBenchmark(t *testing.T) {
	const tests = 6 // PING is two
	for _, loops := range []int{1, 2} {
		for _, pipeline := range []string{"1", "16"} {
			t.Run(fmt.Sprintf("loops=%d,P=%s", loops, pipeline), func(t *testing.T) {
				for name, port := range sides(t, options{loops: loops}) {
					out := tool(t, "redis-benchmark", "-p", port, "-t", "ping,set,get,incr,mset",
						"-n", "5000", "-c", "50", "-r", "100", "-P", pipeline, "-q")
					if lower := strings.ToLower(out); strings.Contains(lower, "err") || strings.Contains(lower, "warning") ||
						strings.Count(out, "requests per second") != tests {
						t.Errorf("%s: %s", name, out)
					}
					const keys = 100 + 100 // of SET and MSET, and of INCR
					if got := strings.TrimSpace(tool(t, "redis-cli", "-p", port, "DBSIZE")); got != strconv.Itoa(keys) {
						t.Errorf("%s: %s keys", name, got)
					}
				}
			})
		}
	}
}
