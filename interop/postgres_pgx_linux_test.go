package interop

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"strconv"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgconn/ctxwatch"
	"github.com/lib/pq"

	"github.com/pollux-io/pollux/internal/testkit"
)

// COPY moves megabytes in and out: pgx writes them while the server reads, and reads errors meanwhile.
func TestPostgreSQLCopy(t *testing.T) {
	const rows, rowBytes = 1000, 4000
	p := postgresServer(t)
	onSides(t, func(t *testing.T, s side) {
		ctx, c := watchdog(t), p.connect(t, s)
		if _, err := c.Exec(ctx, "create temporary table copied (id int, b bytea)"); err != nil {
			t.Fatal(err)
		}
		text := testkit.Text(rowBytes)
		row := func(i int) []byte { return text[i%testkit.TextBytes:][:rowBytes] }
		n, err := c.CopyFrom(ctx, pgx.Identifier{"copied"}, []string{"id", "b"}, pgx.CopyFromSlice(rows, func(i int) ([]any, error) {
			return []any{i, row(i)}, nil
		}))
		if err != nil || n != rows {
			t.Fatalf("%d rows copied, %v, want %d", n, err, rows)
		}
		var want, got bytes.Buffer
		sum := sha256.New()
		for i := range rows {
			fmt.Fprintf(&want, "%d\t\\\\x%x\n", i, row(i))
			sum.Write(row(i))
		}
		if _, err := c.PgConn().CopyTo(ctx, &got, "copy (select * from copied order by id) to stdout"); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got.Bytes(), want.Bytes()) {
			t.Errorf("%d bytes copied back, want %d, the same", got.Len(), want.Len())
		}
		var digest []byte
		if err := c.QueryRow(ctx, "select sha256(string_agg(b, ''::bytea order by id)) from copied").Scan(&digest); err != nil || !bytes.Equal(digest, sum.Sum(nil)) {
			t.Errorf("the server has SHA-256 %x, %v, want %x", digest, err, sum.Sum(nil))
		}
		// An error in the middle: the server stops reading, and the driver notices while it writes.
		_, err = c.CopyFrom(ctx, pgx.Identifier{"copied"}, []string{"id", "b"}, pgx.CopyFromFunc(func() ([]any, error) {
			return []any{"not a number", row(0)}, nil
		}))
		if err == nil {
			t.Error("COPY takes a row that is not valid")
		}
		if err := c.Ping(ctx); err != nil {
			t.Errorf("after a COPY that failed: %v", err)
		}
	})
}

// A batch of thousands of queries in flight is answered in order, in both directions at once.
func TestPostgreSQLPipeline(t *testing.T) {
	const queries = 3000
	p := postgresServer(t)
	onSides(t, func(t *testing.T, s side) {
		ctx, c := watchdog(t), p.connect(t, s)
		var batch pgx.Batch
		for i := range queries {
			batch.Queue("select $1::int, repeat('x', 500)", i)
		}
		results := c.SendBatch(ctx, &batch)
		for i := range queries {
			var n int
			var text string
			if err := results.QueryRow().Scan(&n, &text); err != nil || n != i || len(text) != 500 {
				t.Fatalf("result %d: %d, %d bytes, %v", i, n, len(text), err)
			}
		}
		if err := results.Close(); err != nil {
			t.Error(err)
		}
	})
}

// Notifications arrive once and in order; a wait for one ends with its context, and the connection stays usable.
func TestPostgreSQLNotify(t *testing.T) {
	const notifications = 200
	p := postgresServer(t)
	onSides(t, func(t *testing.T, s side) {
		ctx, listener, sender := watchdog(t), p.connect(t, s), p.connect(t, s)
		if _, err := listener.Exec(ctx, "listen channel"); err != nil {
			t.Fatal(err)
		}
		short, cancel := context.WithTimeout(ctx, time.Millisecond)
		_, err := listener.WaitForNotification(short)
		if cancel(); !errors.Is(err, context.DeadlineExceeded) || listener.IsClosed() {
			t.Errorf("a wait without a notification: %v (closed: %t), want context.DeadlineExceeded", err, listener.IsClosed())
		}
		sent := make(chan error, 1)
		go func() {
			for i := range notifications {
				if _, err := sender.Exec(ctx, "select pg_notify('channel', $1)", strconv.Itoa(i)); err != nil {
					sent <- err
					return
				}
			}
			sent <- nil
		}()
		for i := range notifications {
			n, err := listener.WaitForNotification(ctx)
			if err != nil || n.Payload != strconv.Itoa(i) {
				t.Fatalf("notification %d: %+v, %v", i, n, err)
			}
		}
		if err := <-sent; err != nil {
			t.Error(err)
		}
	})
}

// pq.Listener, which reads on a goroutine of its own, gets notifications over a dialer of its interface, and connects again
// after the server has ended its connection.
func TestPostgreSQLListener(t *testing.T) {
	p := postgresServer(t)
	onSides(t, func(t *testing.T, s side) {
		events := make(chan pq.ListenerEventType, 16)
		l := pq.NewDialListener(pqDialer{s}, p.dsn("tcp"), time.Millisecond, time.Second, func(e pq.ListenerEventType, _ error) { events <- e })
		defer l.Close()
		if err := l.Listen("relisten"); err != nil {
			t.Fatal(err)
		}
		await := func(want pq.ListenerEventType) {
			t.Helper()
			for {
				select {
				case e := <-events:
					if e == want {
						return
					}
				case <-time.After(testkit.Watchdog):
					t.Fatalf("no event %d", want)
				}
			}
		}
		await(pq.ListenerEventConnected)
		ctx, c := watchdog(t), p.connect(t, s)
		for _, payload := range []string{"before", "after"} {
			if _, err := c.Exec(ctx, "select pg_notify('relisten', $1)", payload); err != nil {
				t.Fatal(err)
			}
			select {
			case n := <-l.Notify:
				if n == nil || n.Extra != payload {
					t.Fatalf("%+v, want %q", n, payload)
				}
			case <-ctx.Done():
				t.Fatalf("no notification %q", payload)
			}
			if payload == "after" {
				break
			}
			if _, err := c.Exec(ctx, "select pg_terminate_backend(pid, 60000) from pg_stat_activity where query ilike 'listen \"relisten\"%'"); err != nil {
				t.Fatal(err)
			}
			await(pq.ListenerEventReconnected)
			if n := <-l.Notify; n != nil { // by which it reports that some may be lost
				t.Errorf("%+v after the reconnect, want nil", n)
			}
		}
	})
}

// With pgx's handler that cancels a query instead of the connection, the connection is usable after its context has ended.
func TestPostgreSQLCancelRequest(t *testing.T) {
	p := postgresServer(t)
	onSides(t, func(t *testing.T, s side) {
		config := p.pgxConfig(t, s)
		config.BuildContextWatcherHandler = func(c *pgconn.PgConn) ctxwatch.Handler {
			return &pgconn.CancelRequestContextWatcherHandler{Conn: c, DeadlineDelay: testkit.Watchdog}
		}
		c, err := pgx.ConnectConfig(watchdog(t), config)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close(context.Background())
		watcher, pid := p.connect(t, s), c.PgConn().PID()
		sleeps := func() (ok bool) {
			const query = "select wait_event = 'PgSleep' from pg_stat_activity where pid = $1 and state = 'active'"
			return watcher.QueryRow(watchdog(t), query, pid).Scan(&ok) == nil && ok
		}
		for range 3 {
			ctx, cancel := context.WithCancel(context.Background())
			done := make(chan error, 1)
			go func() {
				_, err := c.Exec(ctx, "select pg_sleep(3600)")
				done <- err
			}()
			if !testkit.Eventually(sleeps) {
				t.Error("the query has not begun")
			}
			cancel()
			if err := <-done; sqlState(err) != queryCanceled {
				t.Errorf("%v, want SQLSTATE %s", err, queryCanceled)
			}
			var one int
			if err := c.QueryRow(watchdog(t), "select 1").Scan(&one); err != nil || one != 1 {
				t.Fatalf("after the cancelled query: %d, %v", one, err)
			}
		}
	})
}
