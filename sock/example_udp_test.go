package sock_test

import (
	"errors"
	"fmt"
	"log"
	"net/netip"

	"github.com/pollux-io/pollux"
	"github.com/pollux-io/pollux/sock"
)

// WriteBatch and ReadBatch send and receive many datagrams by one system call, where the system
// has such a call.
func ExampleUDPSocket_ReadBatch() {
	server, err := sock.ListenUDP(netip.MustParseAddrPort("127.0.0.1:0"))
	if err != nil {
		log.Fatal(err)
	}
	defer server.Close()
	client, err := sock.ConnectUDP(server.LocalAddr())
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close()
	q, err := pollux.New()
	if err != nil {
		log.Fatal(err)
	}
	defer q.Close()
	if err := q.Register(server, 1, pollux.Readable, pollux.Edge); err != nil {
		log.Fatal(err)
	}

	// The zero Addr of a Message means the peer.
	n, err := client.WriteBatch([]sock.Message{{Data: []byte("one")}, {Data: []byte("two")}, {Data: []byte("three")}})
	fmt.Println("sent:", n, err)

	batch := make([]sock.Message, 8)
	for i := range batch {
		batch[i].Data = make([]byte, 1500)
	}
	events := make([]pollux.Event, 1)
	for received := 0; received < 3; {
		n, err := server.ReadBatch(batch)
		if errors.Is(err, sock.ErrWouldBlock) {
			_, err = q.Wait(events, pollux.Forever)
		}
		if err != nil {
			log.Fatal(err)
		}
		for _, m := range batch[:n] {
			fmt.Printf("%s from the client: %v\n", m.Data[:m.N], m.Addr == client.LocalAddr())
		}
		received += n
	}
	// Output:
	// sent: 3 <nil>
	// one from the client: true
	// two from the client: true
	// three from the client: true
}

// A datagram that is longer than the buffer fills it, and the rest is lost.
func ExampleUDPSocket_ReadFrom() {
	u, err := sock.ListenUDP(netip.MustParseAddrPort("127.0.0.1:0"))
	if err != nil {
		log.Fatal(err)
	}
	defer u.Close()
	q, err := pollux.New()
	if err != nil {
		log.Fatal(err)
	}
	defer q.Close()
	if err := q.Register(u, 1, pollux.Readable, pollux.Edge); err != nil {
		log.Fatal(err)
	}
	if _, err := u.WriteTo([]byte("to itself"), u.LocalAddr()); err != nil {
		log.Fatal(err)
	}
	if _, err := q.Wait(make([]pollux.Event, 1), pollux.Forever); err != nil {
		log.Fatal(err)
	}
	b := make([]byte, 2)
	n, from, err := u.ReadFrom(b)
	fmt.Printf("%s %v %v\n", b[:n], from == u.LocalAddr(), errors.Is(err, sock.ErrTruncated))
	// Output: to true true
}
