package interop

import (
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"testing"
)

// serve serves on ln until the test ends, by TLS if the server has a configuration of it. The listener is closed then.
func serve(t *testing.T, ln net.Listener, server *http.Server) {
	t.Helper()
	server.ErrorLog = log.New(io.Discard, "", 0)
	served := make(chan error, 1)
	go func() {
		if server.TLSConfig != nil {
			served <- server.ServeTLS(ln, "", "")
			return
		}
		served <- server.Serve(ln)
	}()
	t.Cleanup(func() {
		if err := server.Shutdown(watchdog(t)); err != nil {
			t.Errorf("Shutdown: %v", err)
		}
		if err := <-served; !errors.Is(err, http.ErrServerClosed) {
			t.Errorf("Serve: %v", err)
		}
	})
}
