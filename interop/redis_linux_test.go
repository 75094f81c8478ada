package interop

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/pollux-io/pollux/internal/testkit"
)

// redisServer returns the port of a server that keeps nothing.
var redisServer = startOnce(func(t *testing.T, port int) (int, error) {
	server := program(t, "redis-server")
	d, err := newDaemon(nil)
	if err != nil {
		return 0, err
	}
	return port, d.start(nil, accepts(port), server, "--port", strconv.Itoa(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--dir", d.dir)
})

// onRedis runs f with a client on each side. Names that begin with prefix are its own.
func onRedis(t *testing.T, poolSize int, f func(t *testing.T, client *redis.Client, prefix string)) {
	t.Helper()
	port := redisServer(t)
	onSides(t, func(t *testing.T, s side) {
		client := newRedis(s, redis.Options{
			Addr: fmt.Sprintf("127.0.0.1:%d", port), PoolSize: poolSize, MaxRetries: -1,
			ReadTimeout: testkit.Watchdog, WriteTimeout: testkit.Watchdog, ContextTimeoutEnabled: true,
		})
		defer client.Close()
		f(t, client, t.Name()+":")
	})
}

// The client inspects a connection by SyscallConn before it uses it again. One connection serves calls that follow each
// other.
func TestRedisReuse(t *testing.T) {
	onRedis(t, 4, func(t *testing.T, client *redis.Client, prefix string) {
		ctx := watchdog(t)
		id := must(client.ClientID(ctx).Result())
		for i := range 20 {
			if again, err := client.ClientID(ctx).Result(); err != nil || again != id {
				t.Fatalf("call %d: by connection %d of the server, %v, want %d again", i, again, err, id)
			}
		}
	})
}

// An idle connection that the server has ended is noticed before it is used: no call fails.
func TestRedisServerEndsConnection(t *testing.T) {
	onRedis(t, 4, func(t *testing.T, client *redis.Client, prefix string) {
		ctx := watchdog(t)
		admin := client.Conn()
		defer admin.Close()
		must(admin.Ping(ctx).Result()) // before the other is idle in the pool
		for range 5 {
			id := must(client.ClientID(ctx).Result())
			if n, err := admin.ClientKillByFilter(ctx, "ID", strconv.FormatInt(id, 10)).Result(); err != nil || n != 1 {
				t.Fatalf("%d connections killed, %v, want 1", n, err)
			}
			if next, err := client.ClientID(ctx).Result(); err != nil || next == id {
				t.Errorf("connection %d of the server, %v, want another one than %d", next, err, id)
			}
		}
	})
}

// Values of all sizes, and a pipeline with more in flight than all buffers hold, come back as they were sent.
func TestRedisValues(t *testing.T) {
	const commands, valueBytes = 5000, 1000
	onRedis(t, 4, func(t *testing.T, client *redis.Client, prefix string) {
		ctx := watchdog(t)
		text := testkit.Text(10 << 20)
		for _, size := range []int{0, 1, 65535, 65536, 1 << 20, len(text)} {
			if err := client.Set(ctx, prefix+"value", text[:size], 0).Err(); err != nil {
				t.Fatal(err)
			}
			if got, err := client.Get(ctx, prefix+"value").Bytes(); err != nil || !bytes.Equal(got, text[:size]) {
				t.Errorf("%d bytes, %v, want the %d that were sent", len(got), err, size)
			}
		}
		pipe := client.Pipeline()
		results := make([]*redis.StringCmd, commands)
		for i := range results {
			results[i] = pipe.Echo(ctx, text[i:i+valueBytes])
		}
		if _, err := pipe.Exec(ctx); err != nil {
			t.Fatal(err)
		}
		for i, r := range results {
			if r.Val() != string(text[i:i+valueBytes]) {
				t.Fatalf("answer %d is not that of its command", i)
			}
		}
		if err := client.Del(ctx, prefix+"value").Err(); err != nil {
			t.Error(err)
		}
	})
}

// Many goroutines share a pool that is smaller, and each increment counts once.
func TestRedisConcurrent(t *testing.T) {
	const workers, increments, pool = 16, 50, 4
	onRedis(t, pool, func(t *testing.T, client *redis.Client, prefix string) {
		ctx := watchdog(t)
		var wg sync.WaitGroup
		for range workers {
			wg.Go(func() {
				for range increments {
					if err := client.Incr(ctx, prefix+"count").Err(); err != nil {
						t.Error(err)
						return
					}
				}
			})
		}
		wg.Wait()
		if n, err := client.GetDel(ctx, prefix+"count").Int(); err != nil || n != workers*increments {
			t.Errorf("%d, %v, want %d", n, err, workers*increments)
		}
		if total := client.PoolStats().TotalConns; total > pool {
			t.Errorf("%d connections, want %d at the most", total, pool)
		}
	})
}

// A command that blocks ends with its context; subscriptions get messages in order.
func TestRedisWaiting(t *testing.T) {
	const messages = 200
	onRedis(t, 4, func(t *testing.T, client *redis.Client, prefix string) {
		ctx := watchdog(t)
		short, cancel := context.WithTimeout(ctx, 20*time.Millisecond)
		err := client.BLPop(short, 0, prefix+"empty").Err()
		if cancel(); !errors.Is(err, context.DeadlineExceeded) && !isTimeout(err) {
			t.Errorf("%v, want a timeout", err)
		}
		sub := client.Subscribe(ctx, prefix+"channel")
		defer sub.Close()
		if _, err := sub.Receive(ctx); err != nil { // the confirmation
			t.Fatal(err)
		}
		for i := range messages {
			if err := client.Publish(ctx, prefix+"channel", i).Err(); err != nil {
				t.Fatal(err)
			}
		}
		for i := range messages {
			if m, err := sub.ReceiveMessage(ctx); err != nil || m.Payload != strconv.Itoa(i) {
				t.Fatalf("message %d: %v, %v", i, m, err)
			}
		}
	})
}

func isTimeout(err error) bool {
	var timeout interface{ Timeout() bool }
	return errors.As(err, &timeout) && timeout.Timeout()
}
