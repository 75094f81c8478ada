package doctor

import (
	"fmt"

	"github.com/pollux-io/pollux/tlsconn"
)

// TLS is how package tlsconn decrypts.
type TLS struct {
	InPlace bool   `json:"in_place"` // idle connections have no buffers
	Why     string `json:"why"`      // not in place; empty if it is
}

func tlsMode() TLS {
	s := tlsconn.StatsOf(nil)
	m := TLS{InPlace: s.InPlace}
	if s.Reason != nil {
		m.Why = s.Reason.Error()
	}
	return m
}

func (p *printer) printTLS() {
	fmt.Fprintf(p, "\nTLS\n")
	if p.TLS.InPlace {
		p.line("records are decrypted where they were received: idle connections have no buffers")
		return
	}
	p.line("each connection keeps buffers as large as its largest record: %s", p.TLS.Why)
}
