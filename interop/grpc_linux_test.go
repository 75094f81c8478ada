package interop

import (
	"bytes"
	"context"
	"errors"
	"io"
	"sync"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/pollux-io/pollux/internal/testkit"
)

// echoStreams is the service of the tests: a method that echoes a stream of bytes, and one that waits for its cancellation.
func echoStreams(canceled chan<- error) *grpc.ServiceDesc {
	return &grpc.ServiceDesc{ServiceName: "pollux.Echo", HandlerType: (*any)(nil), Streams: []grpc.StreamDesc{
		{StreamName: "Echo", ServerStreams: true, ClientStreams: true, Handler: func(_ any, s grpc.ServerStream) error {
			for {
				var m wrapperspb.BytesValue
				if err := s.RecvMsg(&m); err == io.EOF {
					return nil
				} else if err != nil {
					return err
				}
				if err := s.SendMsg(&m); err != nil {
					return err
				}
			}
		}},
		{StreamName: "Wait", ServerStreams: true, ClientStreams: true, Handler: func(_ any, s grpc.ServerStream) error {
			if err := s.SendMsg(&wrapperspb.BytesValue{}); err != nil {
				return err
			}
			<-s.Context().Done()
			canceled <- s.Context().Err()
			return s.Context().Err()
		}},
	}}
}

// onGRPC runs f with a client on each side, in plain text and over TLS.
func onGRPC(t *testing.T, f func(t *testing.T, client *grpc.ClientConn, canceled <-chan error)) {
	t.Helper()
	onSides(t, func(t *testing.T, s side) {
		for _, name := range []string{"plain", "tls"} {
			t.Run(name, func(t *testing.T) {
				serverCreds, clientCreds := insecure.NewCredentials(), insecure.NewCredentials()
				if name == "tls" {
					serverTLS, clientTLS := tlsConfigs()
					serverCreds, clientCreds = credentials.NewTLS(serverTLS), credentials.NewTLS(clientTLS)
				}
				canceled := make(chan error, 1)
				server := grpc.NewServer(grpc.Creds(serverCreds))
				server.RegisterService(echoStreams(canceled), nil)
				healthpb.RegisterHealthServer(server, health.NewServer())
				ln := s.listen(t, "tcp")
				served := make(chan error, 1)
				go func() { served <- server.Serve(ln) }()
				client, err := newGRPC(s, ln.Addr().String(), clientCreds)
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(func() {
					if err := client.Close(); err != nil {
						t.Error(err)
					}
					server.GracefulStop()
					if err := <-served; err != nil {
						t.Errorf("Serve: %v", err)
					}
				})
				f(t, client, canceled)
			})
		}
	})
}

// Calls, and streams whose messages exceed the windows of HTTP/2, are answered on one connection at once.
func TestGRPCStreams(t *testing.T) {
	const streams, messages, messageBytes = 8, 10, 100_000
	onGRPC(t, func(t *testing.T, client *grpc.ClientConn, _ <-chan error) {
		text := testkit.Text(messageBytes)
		var wg sync.WaitGroup
		for i := range streams {
			wg.Go(func() {
				answer, err := healthpb.NewHealthClient(client).Check(watchdog(t), &healthpb.HealthCheckRequest{})
				if err != nil || answer.Status != healthpb.HealthCheckResponse_SERVING {
					t.Errorf("the call: %v, %v", answer, err)
				}
			})
			wg.Go(func() {
				if err := echoStream(watchdog(t), client, messages, text[i:][:messageBytes]); err != nil {
					t.Errorf("stream %d: %v", i, err)
				}
			})
		}
		wg.Wait()
	})
}

// echoStream sends a message several times, without waiting for answers, and expects as many.
func echoStream(ctx context.Context, client *grpc.ClientConn, messages int, message []byte) error {
	stream, err := client.NewStream(ctx, &grpc.StreamDesc{ServerStreams: true, ClientStreams: true}, "/pollux.Echo/Echo")
	if err != nil {
		return err
	}
	sent := make(chan error, 1)
	go func() {
		for range messages {
			if err := stream.SendMsg(wrapperspb.Bytes(message)); err != nil {
				sent <- err
				return
			}
		}
		sent <- stream.CloseSend()
	}()
	for n := 0; ; n++ {
		var m wrapperspb.BytesValue
		switch err := stream.RecvMsg(&m); {
		case err == io.EOF && n == messages:
			return <-sent
		case err != nil:
			return err
		case !bytes.Equal(m.Value, message):
			return errors.New("the message is not the one that was sent")
		}
	}
}

// A stream whose context ends is cancelled at the server, and the connection serves other calls.
func TestGRPCCancel(t *testing.T) {
	onGRPC(t, func(t *testing.T, client *grpc.ClientConn, canceled <-chan error) {
		ctx, cancel := context.WithCancel(watchdog(t))
		defer cancel()
		stream, err := client.NewStream(ctx, &grpc.StreamDesc{ServerStreams: true, ClientStreams: true}, "/pollux.Echo/Wait")
		if err != nil {
			t.Fatal(err)
		}
		var m wrapperspb.BytesValue
		if err := stream.RecvMsg(&m); err != nil {
			t.Fatal(err)
		}
		cancel()
		if err := stream.RecvMsg(&m); status.Code(err) != codes.Canceled {
			t.Errorf("%v, want code Canceled", err)
		}
		if err := <-canceled; !errors.Is(err, context.Canceled) {
			t.Errorf("the server: %v, want context.Canceled", err)
		}
		if err := echoStream(watchdog(t), client, 1, []byte("pollux")); err != nil {
			t.Errorf("a call after that: %v", err)
		}
	})
}
