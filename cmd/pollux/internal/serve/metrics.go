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

// metricsServer answers Prometheus on a server of its own, package net's: it must
// answer when the loops do not.
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
			fmt.Fprintln(s.config.Log, "pollux: metrics are not served any more:", err)
		}
	}()
	return m, nil
}

func (m *metricsServer) url() string { return "http://" + m.listener.Addr().String() + metricsPath }

func (m *metricsServer) close() {
	m.server.Close()
	<-m.ended
}

// collector makes Prometheus's metrics of a server's figures.
type collector struct {
	s       *Server
	info    *prometheus.Desc
	dropped *prometheus.Desc
	loops   []loopMetric
}

// loopMetric is a figure that each loop has.
type loopMetric struct {
	desc  *prometheus.Desc
	kind  prometheus.ValueType
	value func(*loop.LoopStats) float64
}

func newCollector(s *Server) *collector {
	c := &collector{s: s}
	c.info = prometheus.NewDesc("pollux_info", "What is served, and on which backend.", []string{"protocol", "backend"}, nil)
	c.dropped = prometheus.NewDesc("pollux_udp_dropped_total", "Answers to datagrams that the kernel did not take.", nil, nil)
	add := func(kind prometheus.ValueType, name, help string, value func(*loop.LoopStats) float64) {
		c.loops = append(c.loops, loopMetric{prometheus.NewDesc("pollux_"+name, help, []string{"loop"}, nil), kind, value})
	}
	counter, gauge := prometheus.CounterValue, prometheus.GaugeValue
	add(gauge, "connections", "Open connections.", func(l *loop.LoopStats) float64 { return float64(l.Conns) })
	add(counter, "accepted_total", "Connections accepted.", func(l *loop.LoopStats) float64 { return float64(l.Accepts) })
	add(counter, "refused_total", "Connections refused, being above the limit.", func(l *loop.LoopStats) float64 { return float64(l.Refused) })
	add(counter, "messages_total", "Deliveries of received bytes, and datagrams.", func(l *loop.LoopStats) float64 { return float64(l.Messages) })
	add(counter, "received_bytes_total", "Bytes received.", func(l *loop.LoopStats) float64 { return float64(l.BytesIn) })
	add(counter, "sent_bytes_total", "Bytes sent.", func(l *loop.LoopStats) float64 { return float64(l.BytesOut) })
	add(gauge, "stalled", "Connections that stand still because of their own back-pressure.", func(l *loop.LoopStats) float64 { return float64(l.Stalled) })
	add(gauge, "unsent_bytes", "Bytes that wait to be sent.", func(l *loop.LoopStats) float64 { return float64(l.UnsentBytes) })
	add(gauge, "unread_bytes", "Bytes that wait to be consumed.", func(l *loop.LoopStats) float64 { return float64(l.UnreadBytes) })
	add(gauge, "buffers_lent_bytes", "Buffers that connections have.", func(l *loop.LoopStats) float64 { return float64(l.BytesLent) })
	add(gauge, "buffers_idle_bytes", "Buffers kept for later.", func(l *loop.LoopStats) float64 { return float64(l.BytesIdle) })
	add(gauge, "timers", "Timers that run.", func(l *loop.LoopStats) float64 { return float64(l.Timers) })
	add(counter, "turns_total", "Turns of the loop.", func(l *loop.LoopStats) float64 { return float64(l.Turns) })
	add(counter, "busy_seconds_total", "Time in which the loop was awake.", func(l *loop.LoopStats) float64 { return l.BusyTime.Seconds() })
	add(counter, "callback_seconds_total", "Time in callbacks.", func(l *loop.LoopStats) float64 { return l.CallbackTime.Seconds() })
	add(gauge, "callback_longest_seconds", "The longest callback so far, of those measured.", func(l *loop.LoopStats) float64 { return l.LongestCallback.Seconds() })
	add(gauge, "loop_failed", "1 if the loop has ended, because its driver failed.", func(l *loop.LoopStats) float64 {
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
	for i := range stats.Loops {
		name := strconv.Itoa(i)
		for _, m := range c.loops {
			to <- prometheus.MustNewConstMetric(m.desc, m.kind, m.value(&stats.Loops[i]), name)
		}
	}
}
