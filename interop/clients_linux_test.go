package interop

import (
	"context"
	"database/sql"
	"net"
	"net/http"
	"time"

	"github.com/coder/websocket"
	gorilla "github.com/gorilla/websocket"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/lib/pq"
	"github.com/redis/go-redis/v9"
	"golang.org/x/crypto/ssh"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
)

// A dialer is a *netconn.Dialer, or a *net.Dialer. The functions of this file make the clients of the tests, and are shown in
// docs/netconn.md.
type dialer interface {
	Dial(network, address string) (net.Conn, error)
	DialContext(ctx context.Context, network, address string) (net.Conn, error)
}

func openPGX(d dialer, source string) (*sql.DB, error) {
	config, err := pgx.ParseConfig(source)
	if err != nil {
		return nil, err
	}
	config.DialFunc = d.DialContext
	return stdlib.OpenDB(*config), nil
}

func openPQ(d dialer, source string) (*sql.DB, error) {
	connector, err := pq.NewConnector(source)
	if err != nil {
		return nil, err
	}
	connector.Dialer(pqDialer{d})
	return sql.OpenDB(connector), nil
}

// pqDialer adds the method that pq.Dialer demands.
type pqDialer struct{ dialer }

func (d pqDialer) DialTimeout(network, address string, timeout time.Duration) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	return d.DialContext(ctx, network, address)
}

func newRedis(d dialer, options redis.Options) *redis.Client {
	options.Dialer = d.DialContext
	return redis.NewClient(&options)
}

func dialSSH(ctx context.Context, d dialer, address string, config *ssh.ClientConfig) (*ssh.Client, error) {
	conn, err := d.DialContext(ctx, "tcp", address)
	if err != nil {
		return nil, err
	}
	c, channels, requests, err := ssh.NewClientConn(conn, address, config)
	if err != nil {
		conn.Close()
		return nil, err
	}
	return ssh.NewClient(c, channels, requests), nil
}

func newGRPC(d dialer, address string, creds credentials.TransportCredentials) (*grpc.ClientConn, error) {
	return grpc.NewClient("passthrough:///"+address, grpc.WithTransportCredentials(creds),
		grpc.WithContextDialer(func(ctx context.Context, address string) (net.Conn, error) {
			return d.DialContext(ctx, "tcp", address)
		}))
}

// newWebSocketDialer returns a dialer of gorilla/websocket.
func newWebSocketDialer(d dialer) *gorilla.Dialer {
	return &gorilla.Dialer{NetDialContext: d.DialContext, EnableCompression: true}
}

// webSocketOptions returns options of coder/websocket, whose client is one of net/http.
func webSocketOptions(d dialer) *websocket.DialOptions {
	transport := &http.Transport{DialContext: d.DialContext}
	return &websocket.DialOptions{HTTPClient: &http.Client{Transport: transport}}
}
