// Package nametext has the texts about names and DNS servers that several commands print.
package nametext

import (
	"fmt"
	"strings"

	"github.com/pollux-io/pollux"
	"github.com/pollux-io/pollux/dns"
)

// Plain returns the text of the cause of a dns.Error without the class that it wraps, if the text goes on to explain
// it.
func Plain(cause error) string {
	text := cause.Error()
	for _, class := range []error{dns.ErrNoName, dns.ErrNoData} {
		if reason, ok := strings.CutPrefix(text, class.Error()+": "); ok {
			short := strings.TrimSuffix(class.Error(), ": "+dns.ErrNotFound.Error())
			return short + ": " + reason
		}
	}
	return strings.TrimPrefix(text, pollux.ErrBadArgument.Error()+": ")
}

// Terms returns how the servers of a dns.Plan are asked.
func Terms(p *dns.Plan) string {
	s := fmt.Sprintf("each is asked %s at most, and has %v", times(p.Attempts), p.Timeout)
	if p.Rotate {
		s += "; queries begin at each in turn"
	}
	if p.TCP {
		s += "; over TCP only"
	}
	return s
}

func times(n int) string {
	if n == 1 {
		return "once"
	}
	return fmt.Sprintf("%d times", n)
}
