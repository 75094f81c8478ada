package interop

import (
	"context"
	"database/sql"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

// A postgres is a server with TLS, SCRAM passwords and a Unix socket.
type postgres struct {
	dir  string // of the socket and the certificate
	port int
}

const (
	postgresUser     = "pollux"
	postgresPassword = "castor's twin"
	// maxConnections is how many connections the server accepts; it reserves 3 of them.
	maxConnections = 60
)

var postgresServer = startOnce(func(t *testing.T, port int) (postgres, error) {
	folder := "/usr/lib/postgresql/*/bin"
	initdb, server := program(t, "initdb", folder), program(t, "postgres", folder)
	owner, err := unprivileged()
	if err != nil {
		return postgres{}, err
	}
	d, err := newDaemon(owner)
	if err != nil {
		return postgres{}, err
	}
	cert, key := certificate()
	for name, content := range map[string][]byte{"cert": cert, "key": key, "password": []byte(postgresPassword)} {
		file := filepath.Join(d.dir, name)
		if err := os.WriteFile(file, content, 0o600); err != nil {
			return postgres{}, err
		}
		if owner != nil {
			if err := os.Chown(file, int(owner.Uid), int(owner.Gid)); err != nil {
				return postgres{}, err
			}
		}
	}
	if err := d.run(owner, initdb, "--pgdata=data", "--username="+postgresUser, "--pwfile=password", "--auth=scram-sha-256",
		"--no-sync", "--encoding=UTF8", "--locale=C"); err != nil {
		return postgres{}, err
	}
	args := []string{server, "-D", "data", "-p", strconv.Itoa(port), "-k", d.dir, "-h", "127.0.0.1"}
	for _, option := range []string{
		"fsync=off", "ssl=on", "ssl_cert_file=" + filepath.Join(d.dir, "cert"), "ssl_key_file=" + filepath.Join(d.dir, "key"),
		"max_connections=" + strconv.Itoa(maxConnections), "dynamic_shared_memory_type=mmap", "shared_buffers=16MB", "autovacuum=off",
	} {
		args = append(args, "-c", option)
	}
	p := postgres{d.dir, port}
	return p, d.start(owner, p.ready, args...)
})

// ready reports whether the server takes queries: while it starts, it accepts connections and refuses them.
func (p postgres) ready() bool {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	c, err := pgx.Connect(ctx, p.dsn("tcp"))
	if err != nil {
		return false
	}
	return c.Close(ctx) == nil
}

// dsn returns the connection string of the server, for transport "tcp", "tls" or "unix".
func (p postgres) dsn(transport string) string {
	host, mode := "127.0.0.1", "disable"
	switch transport {
	case "tls":
		mode = "verify-full"
	case "unix":
		host = p.dir
	}
	quote := strings.NewReplacer(`\`, `\\`, "'", `\'`).Replace
	return fmt.Sprintf("host='%s' port=%d user=%s password='%s' dbname=postgres sslmode=%s sslrootcert='%s' connect_timeout=30",
		quote(host), p.port, postgresUser, quote(postgresPassword), mode, quote(filepath.Join(p.dir, "cert")))
}

// pgxConfig returns a configuration of pgx that dials by s.
func (p postgres) pgxConfig(t *testing.T, s side) *pgx.ConnConfig {
	t.Helper()
	config, err := pgx.ParseConfig(p.dsn("tcp"))
	if err != nil {
		t.Fatal(err)
	}
	config.DialFunc = s.DialContext
	return config
}

// connect returns a connection of pgx, which is closed after the test.
func (p postgres) connect(t *testing.T, s side) *pgx.Conn {
	t.Helper()
	c, err := pgx.ConnectConfig(watchdog(t), p.pgxConfig(t, s))
	if err != nil {
		t.Fatal(err)
	}
	if !s.isConn(c.PgConn().Conn()) {
		t.Errorf("pgx has a %T", c.PgConn().Conn())
	}
	t.Cleanup(func() { c.Close(context.Background()) })
	return c
}

// onDrivers runs f with database/sql over pgx and over lib/pq, by each transport.
func (p postgres) onDrivers(t *testing.T, s side, f func(t *testing.T, db *sql.DB)) {
	t.Helper()
	for _, v := range []struct {
		driver, transport string
		open              func(dialer, string) (*sql.DB, error)
	}{{"pgx", "tls", openPGX}, {"pgx", "unix", openPGX}, {"pq", "tcp", openPQ}, {"pq", "tls", openPQ}} {
		t.Run(v.driver+"/"+v.transport, func(t *testing.T) {
			db, err := v.open(s, p.dsn(v.transport))
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() {
				if err := db.Close(); err != nil {
					t.Error(err)
				}
			})
			f(t, db)
		})
	}
}
