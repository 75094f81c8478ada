package demo

import (
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// A slowServer answers each request as late as its path asks for, such as
// /300ms. It is plain net/http, so that the demo's other end is nothing special.
type slowServer struct {
	ln   net.Listener
	http http.Server
}

func startServer() (*slowServer, error) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	s := &slowServer{ln: ln, http: http.Server{Handler: http.HandlerFunc(answer), ReadHeaderTimeout: time.Minute}}
	go s.http.Serve(ln)
	return s, nil
}

func (s *slowServer) Close() error { return s.http.Close() }

// answer waits, then sends a body whose length depends on the delay.
func answer(w http.ResponseWriter, r *http.Request) {
	delay, err := time.ParseDuration(strings.TrimPrefix(r.URL.Path, "/"))
	if err != nil || delay < 0 {
		http.Error(w, "the path says how long to wait, such as /300ms", http.StatusBadRequest)
		return
	}
	timer := time.NewTimer(delay)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-r.Context().Done():
		return
	}
	body := "waited " + delay.String() + "\n" + strings.Repeat(".", int(delay/time.Millisecond)%1000) + "\n"
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	w.Write([]byte(body))
}
