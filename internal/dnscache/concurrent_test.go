package dnscache

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pollux-io/pollux/internal/testkit"
)

// A reader never misses an entry that is in the cache all the time, while it is replaced and its
// neighbours in the bucket come and go, and never gets the answer of another key.
func TestReadersDuringChanges(t *testing.T) {
	testkit.CheckLeaks(t)
	c := New[string](config)
	c.table.buckets = c.table.buckets[:1] // everything collides
	const neighbours = 8
	last := key("stays.example.org")
	for i := range neighbours / 2 {
		put(c, name(i))
	}
	put(c, last.Name)
	for i := neighbours / 2; i < neighbours; i++ {
		put(c, name(i))
	}
	c.Put(0, last, positive(last.Name, time.Hour))

	var writers, readers sync.WaitGroup
	done := make(chan bool)
	for r := range 4 {
		k := last
		if r%2 == 1 {
			k.Name = strings.ToUpper(k.Name)
		}
		readers.Go(func() {
			for {
				select {
				case <-done:
					return
				default:
				}
				if h, ok := c.Get(0, k); !ok || h.Value != last.Name {
					t.Errorf("Get(%s) = %+v, %t", k.Name, h, ok)
					return
				}
				if h, ok := c.Get(0, key(name(1))); ok && h.Value != name(1) && h.Value != "v" {
					t.Errorf("Get(%s) = %+v", name(1), h)
					return
				}
			}
		})
	}
	writers.Go(func() {
		for range 10_000 {
			c.Put(0, last, positive(last.Name, time.Hour))
		}
	})
	writers.Go(func() {
		for i := range 10_000 {
			k := key(name(i % neighbours))
			c.Put(0, k, positive(k.Name, time.Duration(i/neighbours%2)*time.Hour)) // TTL 0 removes it
		}
	})
	writers.Wait()
	close(done)
	readers.Wait()
	c.check(t)
}

// All methods at once, with evictions.
func TestConcurrentUse(t *testing.T) {
	testkit.CheckLeaks(t)
	limited := config
	limited.MaxEntries = 50
	c := New[string](limited)
	var all sync.WaitGroup
	for g := range 4 {
		all.Go(func() {
			for i := range 5000 {
				now, k := time.Duration(i)*time.Second, key(name((i*(g+1))%200))
				if h, ok := c.Get(now, k); !ok {
					c.Put(now, k, positive(k.Name, time.Minute))
				} else if h.Value != k.Name {
					t.Errorf("Get(%s) = %+v", k.Name, h)
				} else if h.Refresh {
					c.RefreshFailed(now, k)
				}
				if i%1000 == 0 {
					c.Flush()
				}
				if s := c.Stats(); s.Entries > limited.MaxEntries {
					t.Errorf("Stats() = %+v, want at most %d entries", s, limited.MaxEntries)
				}
			}
		})
	}
	all.Wait()
	c.check(t)
	if s := c.Stats(); s.Hits+s.StaleHits+s.Misses != 4*5000 {
		t.Errorf("Stats() = %+v, want %d lookups", s, 4*5000)
	}
}

func benchmarkGet(b *testing.B, get, cached string) {
	c := New[string](config)
	for i := range 500 {
		c.Put(0, key(name(i)), positive("v", time.Hour))
	}
	c.Put(0, key(cached), positive("v", time.Hour))
	b.Run("serial", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			c.Get(0, key(get))
		}
	})
	b.Run("parallel", func(b *testing.B) {
		b.ReportAllocs()
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				c.Get(0, key(get))
			}
		})
	})
}

func BenchmarkHit(b *testing.B) { benchmarkGet(b, "www.example.org", "www.example.org") }

func BenchmarkHitCapitals(b *testing.B) { benchmarkGet(b, "WWW.Example.org", "www.example.org") }

func BenchmarkMiss(b *testing.B) { benchmarkGet(b, "absent.example.org", "www.example.org") }

// Every answer evicts another.
func BenchmarkPut(b *testing.B) {
	for _, entries := range []int{1000, 100_000} {
		b.Run(fmt.Sprint(entries), func(b *testing.B) {
			limited := config
			limited.MaxEntries, limited.MaxBytes = entries, 1<<30
			c := New[string](limited)
			names := make([]string, 2*entries)
			for i := range names {
				names[i] = name(i)
				put(c, names[i])
			}
			b.ReportAllocs()
			b.ResetTimer()
			for i := range b.N {
				c.Put(0, key(names[i%len(names)]), positive("v", time.Hour))
			}
		})
	}
}
