package parkhttp_test

import (
	"context"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"time"

	"github.com/pollux-io/pollux/loop"
	"github.com/pollux-io/pollux/netconn"
	"github.com/pollux-io/pollux/netconn/parkhttp"
)

// A server whose idle connections cost a few hundred bytes each.
func ExamplePark() {
	g, err := loop.NewGroup(loop.Config{})
	if err != nil {
		log.Fatal(err)
	}
	defer g.Shutdown(context.Background())
	ln, err := netconn.Listen(g, "tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	states := make(chan string, 16)
	server := &http.Server{
		Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "castor") }),
		ConnState: func(nc net.Conn, s http.ConnState) { // set before Park
			c, ok := nc.(*parkhttp.Conn)
			switch {
			case ok && s == http.StateClosed && c.Parked():
				states <- "parked"
			case ok && s == http.StateNew && c.Woken():
				states <- "woken"
			default:
				states <- s.String()
			}
		},
		IdleTimeout: time.Hour,
	}
	ln, err = parkhttp.Park(server, ln)
	if err != nil {
		log.Print(err) // ln serves as before, and does not park
	}
	go server.Serve(ln)

	transport := &http.Transport{}
	defer transport.CloseIdleConnections()
	for range 2 {
		resp, err := (&http.Client{Transport: transport}).Get("http://" + ln.Addr().String())
		if err != nil {
			log.Fatal(err)
		}
		body, _ := io.ReadAll(resp.Body)
		resp.Body.Close()
		for s := ""; s != "parked"; { // and then the next request
			s = <-states
			fmt.Println(s)
		}
		fmt.Printf("%s\n", body)
	}
	server.Close()
	// Output:
	// new
	// active
	// idle
	// parked
	// castor
	// woken
	// active
	// idle
	// parked
	// castor
}
