package interop

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/lib/pq"

	"github.com/pollux-io/pollux/internal/testkit"
)

// SQLSTATE of errors that the tests provoke.
const (
	serializationFailure = "40001"
	deadlockDetected     = "40P01"
	queryCanceled        = "57014"
)

// sqlState returns the SQLSTATE of an error of either driver, or "".
func sqlState(err error) string {
	if e := (*pgconn.PgError)(nil); errors.As(err, &e) {
		return e.Code
	}
	if e := (*pq.Error)(nil); errors.As(err, &e) {
		return string(e.Code)
	}
	return ""
}

// onDatabases runs f with each driver and transport on each side.
func onDatabases(t *testing.T, f func(t *testing.T, s side, p postgres, db *sql.DB)) {
	t.Helper()
	p := postgresServer(t)
	onSides(t, func(t *testing.T, s side) {
		p.onDrivers(t, s, func(t *testing.T, db *sql.DB) { f(t, s, p, db) })
	})
}

// tableOf creates a table that is dropped after the test, and returns its name. A temporary one would be seen by one
// connection only.
func tableOf(t *testing.T, db *sql.DB, columns string) string {
	t.Helper()
	name := fmt.Sprintf("t%d", time.Now().UnixNano())
	mustExec(t, db, "create unlogged table "+name+" ("+columns+")")
	t.Cleanup(func() { mustExec(t, db, "drop table "+name) })
	return name
}

func mustExec(t *testing.T, db *sql.DB, query string, args ...any) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), testkit.Watchdog)
	defer cancel()
	if _, err := db.ExecContext(ctx, query, args...); err != nil {
		t.Fatalf("%s: %v", query, err)
	}
}

// Concurrent serializable transactions over a pool, those that conflict repeated, keep a sum, and count each transfer once.
func TestPostgreSQLTransactions(t *testing.T) {
	const workers, transfers, accounts, balance = 4, 10, 8, 1000
	onDatabases(t, func(t *testing.T, _ side, _ postgres, db *sql.DB) {
		ctx := watchdog(t)
		db.SetMaxOpenConns(workers)
		table := tableOf(t, db, "id int primary key, balance int, transfers int")
		mustExec(t, db, "insert into "+table+" select i, $1, 0 from generate_series(0, $2) i", balance, accounts-1)
		transfer := func(from, to int) error {
			tx, err := db.BeginTx(ctx, &sql.TxOptions{Isolation: sql.LevelSerializable})
			if err != nil {
				return err
			}
			defer tx.Rollback() // no effect after Commit
			if _, err := tx.ExecContext(ctx, "update "+table+" set balance = balance - 1, transfers = transfers + 1 where id = $1", from); err != nil {
				return err
			}
			if _, err := tx.ExecContext(ctx, "update "+table+" set balance = balance + 1 where id = $1", to); err != nil {
				return err
			}
			return tx.Commit()
		}
		var wg sync.WaitGroup
		for w := range workers {
			wg.Go(func() {
				for n := 0; n < transfers; {
					switch err := transfer((w+n)%accounts, (w+n+1)%accounts); sqlState(err) {
					case serializationFailure, deadlockDetected:
					default:
						if err != nil {
							t.Error(err)
							return
						}
						n++
					}
				}
			})
		}
		wg.Wait()
		var sum, count int
		if err := db.QueryRowContext(ctx, "select sum(balance), sum(transfers) from "+table).Scan(&sum, &count); err != nil {
			t.Fatal(err)
		}
		if sum != accounts*balance || count != workers*transfers {
			t.Errorf("the sum is %d after %d transfers, want %d after %d", sum, count, accounts*balance, workers*transfers)
		}
	})
}

// A transaction that is rolled back, and one whose context is cancelled, leave nothing behind.
func TestPostgreSQLRollback(t *testing.T) {
	onDatabases(t, func(t *testing.T, _ side, _ postgres, db *sql.DB) {
		table := tableOf(t, db, "id int")
		for _, end := range []func(tx *sql.Tx, cancel func()) error{
			func(tx *sql.Tx, _ func()) error { return tx.Rollback() },
			func(tx *sql.Tx, cancel func()) error {
				cancel()
				if err := tx.Commit(); err == nil {
					return errors.New("Commit succeeds after its context has ended")
				}
				return nil
			},
		} {
			ctx, cancel := context.WithCancel(watchdog(t))
			tx, err := db.BeginTx(ctx, nil)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := tx.ExecContext(ctx, "insert into "+table+" values (1)"); err != nil {
				t.Fatal(err)
			}
			if err := end(tx, cancel); err != nil {
				t.Error(err)
			}
			cancel()
		}
		var n int
		if err := db.QueryRowContext(watchdog(t), "select count(*) from "+table).Scan(&n); err != nil || n != 0 {
			t.Errorf("%d rows, %v, want none", n, err)
		}
	})
}

// A large result arrives whole and in order, and a large argument with it; one that is closed early does not disturb the next.
func TestPostgreSQLRows(t *testing.T) {
	const rows, argument = 10_000, 1 << 20
	onDatabases(t, func(t *testing.T, _ side, _ postgres, db *sql.DB) {
		ctx := watchdog(t)
		db.SetMaxOpenConns(1)
		text := testkit.Text(argument)
		var echo []byte
		if err := db.QueryRowContext(ctx, "select $1::bytea", text).Scan(&echo); err != nil || string(echo) != string(text) {
			t.Errorf("%d bytes, %v, want the %d that were sent", len(echo), err, len(text))
		}
		for _, limit := range []int{rows, 10} {
			result, err := db.QueryContext(ctx, "select i, repeat(chr(97 + i % 26), 100) from generate_series(0, $1) i", rows-1)
			if err != nil {
				t.Fatal(err)
			}
			n := 0
			for n < limit && result.Next() {
				var i int
				var s string
				if err := result.Scan(&i, &s); err != nil || i != n || s != strings.Repeat(string(rune('a'+i%26)), 100) {
					t.Fatalf("row %d: %d, %q, %v", n, i, s, err)
				}
				n++
			}
			if err := result.Close(); err != nil || n != limit {
				t.Errorf("%d rows, %v, want %d", n, err, limit)
			}
		}
		if opened := db.Stats().OpenConnections; opened != 1 {
			t.Errorf("%d connections, want the one", opened)
		}
	})
}

// A query whose context is cancelled returns soon, and the server ends it; the pool goes on.
func TestPostgreSQLCancel(t *testing.T) {
	onDatabases(t, func(t *testing.T, s side, p postgres, db *sql.DB) {
		ctx, cancel := context.WithCancel(watchdog(t))
		defer cancel()
		mark := fmt.Sprintf("mark%d", time.Now().UnixNano())
		done := make(chan error, 1)
		go func() {
			_, err := db.ExecContext(ctx, "select pg_sleep(3600) /* "+mark+" */")
			done <- err
		}()
		active := func() (n int) {
			const query = "select count(*) from pg_stat_activity where state = 'active' and pid <> pg_backend_pid() and query like $1"
			if err := db.QueryRowContext(watchdog(t), query, "%"+mark+"%").Scan(&n); err != nil {
				t.Error(err)
			}
			return n
		}
		if !testkit.Eventually(func() bool { return active() == 1 }) {
			t.Fatal("the query has not begun")
		}
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) && sqlState(err) != queryCanceled {
			t.Errorf("%v, want context.Canceled or SQLSTATE %s", err, queryCanceled)
		}
		if !testkit.Eventually(func() bool { return active() == 0 }) {
			t.Error("the server goes on with the cancelled query")
		}
	})
}

// A connection that the server has ended while it was idle fails at most one call, which the drivers do not repeat; then
// database/sql replaces it.
func TestPostgreSQLServerEndsConnection(t *testing.T) {
	onDatabases(t, func(t *testing.T, s side, p postgres, db *sql.DB) {
		pid := func() (pid int, err error) {
			err = db.QueryRowContext(watchdog(t), "select pg_backend_pid()").Scan(&pid)
			return pid, err
		}
		first := must(pid())
		if again := must(pid()); again != first {
			t.Errorf("the pool does not use its connection again: servers %d and %d", first, again)
		}
		admin := p.connect(t, s)
		if _, err := admin.Exec(watchdog(t), "select pg_terminate_backend($1, 60000)", first); err != nil { // waits for its end
			t.Fatal(err)
		}
		if second, err := pid(); err == nil && second == first {
			t.Errorf("server %d has been ended, and answers", second)
		}
		if third, err := pid(); err != nil || third == first {
			t.Errorf("server %d, %v, want another one than %d", third, err, first)
		}
	})
}

// Many connections at once are as many servers, each of which answers to its own.
func TestPostgreSQLManyConnections(t *testing.T) {
	const connections = 25 // of maxConnections: those of other tests may be ending
	onDatabases(t, func(t *testing.T, _ side, _ postgres, db *sql.DB) {
		if testing.Short() {
			t.Skip("forks hundreds of processes: not with -short")
		}
		ctx := watchdog(t)
		db.SetMaxIdleConns(connections)
		conns := make([]*sql.Conn, connections)
		pids := make([]int, connections)
		var wg sync.WaitGroup
		for i := range connections {
			wg.Go(func() {
				c, err := db.Conn(ctx)
				if err == nil {
					conns[i] = c
					err = c.QueryRowContext(ctx, "select pg_backend_pid()").Scan(&pids[i])
				}
				if err != nil {
					t.Errorf("connection %d: %v", i, err)
				}
			})
		}
		wg.Wait()
		seen := make(map[int]bool)
		for i, c := range conns {
			if c == nil {
				continue
			}
			var again int
			if err := c.QueryRowContext(ctx, "select pg_backend_pid()").Scan(&again); err != nil || again != pids[i] || seen[again] {
				t.Errorf("connection %d: server %d, %v; %d before; of another connection: %t", i, again, err, pids[i], seen[again])
			}
			seen[again] = true
			if err := c.Close(); err != nil {
				t.Error(err)
			}
		}
	})
}

// A server that does not listen is the error of package net through both drivers.
func TestPostgreSQLRefused(t *testing.T) {
	p := postgresServer(t)
	onSides(t, func(t *testing.T, s side) {
		(postgres{dir: p.dir, port: freePort()}).onDrivers(t, s, func(t *testing.T, db *sql.DB) {
			var op *net.OpError
			if err := db.PingContext(watchdog(t)); !errors.As(err, &op) || op.Op != "dial" {
				t.Errorf("%v, want a *net.OpError of dial", err)
			}
		})
	})
}
