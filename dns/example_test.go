package dns_test

import (
	"context"
	"fmt"
	"time"

	"github.com/pollux-io/pollux/dns"
)

func ExampleResolver_Lookup() {
	r, err := dns.New(dns.Config{})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer r.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	for _, name := range []string{"192.0.2.1", "localhost"} {
		a, err := r.Lookup(ctx, name)
		if err != nil {
			fmt.Println(err)
			continue
		}
		fmt.Println(a.Name, a.Addrs, a.Path)
	}
	// Output:
	// 192.0.2.1 [192.0.2.1] literal
	// localhost [127.0.0.1 ::1] localhost
}
