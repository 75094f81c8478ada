package main

import (
	"strings"
	"testing"
)

// BenchmarkBatch parses and runs commands that are received together: 64 a batch, GET and SET of
// existing keys, as arrays and inline.
func BenchmarkBatch(b *testing.B) {
	for name, commands := range map[string]string{
		"array":  resp("SET", "key:0001", "value") + resp("GET", "key:0001"),
		"inline": "SET key:0001 value\r\nGET key:0001\r\n",
	} {
		b.Run(name, func(b *testing.B) {
			const pairs = 32
			s := start(b, options{}).server
			h := &session{call: s.calls[s.group.Loops()[0]], in: newParser(testMaxBulk)}
			input := []byte(strings.Repeat(commands, pairs))
			b.ReportAllocs()
			for b.Loop() {
				if n, _, err := h.batch(input); n != len(input) || err != nil {
					b.Fatal(n, err)
				}
				h.call.take()
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*2*pairs), "ns/command")
		})
	}
}
