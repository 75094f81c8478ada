package serve

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/pollux-io/pollux/loop"
)

// metricsServer answers Prometheus with a server of package net/http: it must answer also
// if the loops do not.
type metricsServer struct {
	listener net.Listener
	server   *http.Server
	ended    chan struct{}
}

const (
	metricsPath    = "/metrics"
	metricsTimeout = 10 * time.Second // for a request, and for an answer
)

func serveMetrics(address string, s *Server) (*metricsServer, error) {
	registry := prometheus.NewRegistry()
	registry.MustRegister(newCollector(s), collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	l, err := net.Listen("tcp", address)
	if err != nil {
		return nil, err
	}
	mux := http.NewServeMux()
	mux.Handle("GET "+metricsPath, promhttp.HandlerFor(registry, promhttp.HandlerOpts{}))
	m := &metricsServer{listener: l, ended: make(chan struct{}), server: &http.Server{
		Handler: mux, ReadTimeout: metricsTimeout, WriteTimeout: metricsTimeout,
	}}
	go func() {
		defer close(m.ended)
		if err := m.server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			fmt.Fprintln(s.config.Log, "pollux: serve metrics: the server has stopped:", err)
		}
	}()
	return m, nil
}

func (m *metricsServer) url() string { return "http://" + m.listener.Addr().String() + metricsPath }

func (m *metricsServer) close() {
	m.server.Close()
	<-m.ended
}

// collector converts a server's figures to Prometheus's metrics.
type collector struct {
	s       *Server
	info    *prometheus.Desc
	dropped *prometheus.Desc
	tls     *prometheus.Desc // nil without TLS
	loops   []loopMetric
}

// loopMetric is a figure of each loop.
type loopMetric struct {
	desc  *prometheus.Desc
	kind  prometheus.ValueType
	value func(*loop.LoopStats) float64
}

func newCollector(s *Server) *collector {
	c := &collector{s: s}
	c.info = prometheus.NewDesc("pollux_info", "The protocol that is served, and the backend.", []string{"protocol", "backend"}, nil)
	c.dropped = prometheus.NewDesc("pollux_udp_dropped_total", "Answers to datagrams that the kernel did not take.", nil, nil)
	if s.config.TLS != nil {
		c.tls = prometheus.NewDesc("pollux_tls_handshake_errors_total", "TLS handshakes that failed.", nil, nil)
	}
	add := func(kind prometheus.ValueType, name, help string, value func(*loop.LoopStats) float64) {
		c.loops = append(c.loops, loopMetric{prometheus.NewDesc("pollux_"+name, help, []string{"loop"}, nil), kind, value})
	}
	counter, gauge := prometheus.CounterValue, prometheus.GaugeValue
	add(gauge, "connections", "Open connections.", func(l *loop.LoopStats) float64 { return float64(l.Conns) })
	add(counter, "accepted_total", "Connections accepted.", func(l *loop.LoopStats) float64 { return float64(l.Accepts) })
	add(counter, "refused_total", "Connections refused because of the limit.", func(l *loop.LoopStats) float64 { return float64(l.Refused) })
	add(counter, "messages_total", "Deliveries of received bytes, and datagrams.", func(l *loop.LoopStats) float64 { return float64(l.Messages) })
	add(counter, "received_bytes_total", "Bytes received.", func(l *loop.LoopStats) float64 { return float64(l.BytesIn) })
	add(counter, "sent_bytes_total", "Bytes sent.", func(l *loop.LoopStats) float64 { return float64(l.BytesOut) })
	add(gauge, "unsent_bytes", "Bytes written and not yet sent.", func(l *loop.LoopStats) float64 { return float64(l.UnsentBytes) })
	add(gauge, "unread_bytes", "Bytes received and not yet consumed.", func(l *loop.LoopStats) float64 { return float64(l.UnreadBytes) })
	add(gauge, "stalled_connections", "Connections without progress because of their own back-pressure.", func(l *loop.LoopStats) float64 { return float64(l.Stalled) })
	add(gauge, "buffers_lent_bytes", "Buffers in use by connections.", func(l *loop.LoopStats) float64 { return float64(l.BytesLent) })
	add(gauge, "buffers_idle_bytes", "Buffers kept for reuse.", func(l *loop.LoopStats) float64 { return float64(l.BytesIdle) })
	add(gauge, "timers", "Active timers.", func(l *loop.LoopStats) float64 { return float64(l.Timers) })
	add(gauge, "queued_functions", "Functions queued for the loop.", func(l *loop.LoopStats) float64 { return float64(l.Queued) })
	add(counter, "turns_total", "Turns of the loop.", func(l *loop.LoopStats) float64 { return float64(l.Turns) })
	add(counter, "spins_total", "Spins: the loop polled the kernel repeatedly before it slept.", func(l *loop.LoopStats) float64 { return float64(l.Spin.Spins) })
	add(counter, "spin_hits_total", "Spins that found an event.", func(l *loop.LoopStats) float64 { return float64(l.Spin.Hits) })
	add(counter, "spin_seconds_total", "Time spent spinning.", func(l *loop.LoopStats) float64 { return l.Spin.Time.Seconds() })
	add(gauge, "spin_window_seconds", "Current maximum duration of a spin.", func(l *loop.LoopStats) float64 { return l.Spin.Window.Seconds() })
	add(counter, "busy_seconds_total", "Time in which the loop was awake.", func(l *loop.LoopStats) float64 { return l.BusyTime.Seconds() })
	add(counter, "callback_seconds_total", "Time in callbacks.", func(l *loop.LoopStats) float64 { return l.CallbackTime.Seconds() })
	add(gauge, "callback_longest_seconds", "The longest callback so far, of the sampled and the slow ones.", func(l *loop.LoopStats) float64 { return l.LongestCallback.Seconds() })
	add(gauge, "loop_failed", "1 if the loop has ended because its driver failed, or a callback ended its goroutine.", func(l *loop.LoopStats) float64 {
		if l.Failed != nil {
			return 1
		}
		return 0
	})
	add(counter, "slow_callbacks_total", "Callbacks that blocked the loop.", func(l *loop.LoopStats) float64 { return float64(l.SlowCallbacks) })
	return c
}

// Describe implements prometheus.Collector.
func (c *collector) Describe(to chan<- *prometheus.Desc) {
	to <- c.info
	to <- c.dropped
	if c.tls != nil {
		to <- c.tls
	}
	for _, m := range c.loops {
		to <- m.desc
	}
}

// Collect implements prometheus.Collector.
func (c *collector) Collect(to chan<- prometheus.Metric) {
	stats := c.s.sampler.stats(c.s.group)
	to <- prometheus.MustNewConstMetric(c.info, prometheus.GaugeValue, 1, c.s.config.Protocol, stats.Backend)
	dropped := c.s.tally.packetsDropped.Load()
	for i := range stats.Loops {
		dropped += stats.Loops[i].PacketErrors
	}
	to <- prometheus.MustNewConstMetric(c.dropped, prometheus.CounterValue, float64(dropped))
	if c.tls != nil {
		to <- prometheus.MustNewConstMetric(c.tls, prometheus.CounterValue, float64(c.s.tally.handshakeErrors.Load()))
	}
	for i := range stats.Loops {
		name := strconv.Itoa(i)
		for _, m := range c.loops {
			to <- prometheus.MustNewConstMetric(m.desc, m.kind, m.value(&stats.Loops[i]), name)
		}
	}
}
