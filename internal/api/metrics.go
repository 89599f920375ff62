package api

import (
	"net/http"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	dto "github.com/prometheus/client_model/go"

	"tandem/internal/serve"
	"tandem/internal/tenant"
)

// tenantLabel marks the series that only its tenant may see.
const tenantLabel = "tenant"

// Metrics counts for Prometheus. It has a registry of its own.
type Metrics struct {
	registry *prometheus.Registry
	requests *prometheus.CounterVec
	latency  *prometheus.HistogramVec
	rows     *prometheus.HistogramVec
	compute  *prometheus.CounterVec
}

// NewMetrics makes the counters. Give Step to serve.Config.Observe, and the engine to
// Watch.
func NewMetrics() *Metrics {
	m := &Metrics{
		registry: prometheus.NewRegistry(),
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "tandem_requests_total", Help: "Requests answered, by route, model and HTTP status.",
		}, []string{tenantLabel, "route", "model", "status"}),
		latency: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "tandem_request_seconds", Help: "Time from the head of a request to the end of its answer.",
			Buckets: prometheus.ExponentialBuckets(0.0001, 2.5, 14),
		}, []string{tenantLabel, "route", "model"}),
		rows: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "tandem_batch_rows", Help: "Rows that one run of a model computed.",
			Buckets: prometheus.ExponentialBuckets(1, 2, 11),
		}, []string{tenantLabel, "model"}),
		compute: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "tandem_compute_seconds_total", Help: "Time that runs of a model took.",
		}, []string{tenantLabel, "model", "version"}),
	}
	m.registry.MustRegister(m.requests, m.latency, m.rows, m.compute, collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

// Request counts an answered request. The model is empty unless it is one that the
// tenant has: a label must not be a caller's choice.
func (m *Metrics) Request(t tenant.ID, route, model string, status int, d time.Duration) {
	m.requests.WithLabelValues(string(t), route, model, strconv.Itoa(status)).Inc()
	m.latency.WithLabelValues(string(t), route, model).Observe(d.Seconds())
}

// Step counts a run of a model.
func (m *Metrics) Step(s serve.Step) {
	m.rows.WithLabelValues(string(s.Tenant), s.Model).Observe(float64(s.Rows))
	m.compute.WithLabelValues(string(s.Tenant), s.Model, strconv.Itoa(s.Version)).Add(s.Compute.Seconds())
}

// Watch shows an engine's queues and memory.
func (m *Metrics) Watch(e *serve.Engine) {
	m.registry.MustRegister(engineCollector{
		engine:   e,
		requests: prometheus.NewDesc("tandem_queued_requests", "Requests that wait for a model.", engineLabels(), nil),
		rows:     prometheus.NewDesc("tandem_queued_rows", "Rows that wait for a model.", engineLabels(), nil),
		bytes:    prometheus.NewDesc("tandem_model_memory_bytes", "Memory that a loaded model takes.", engineLabels(), nil),
		loaded:   prometheus.NewDesc("tandem_models", "Deployments, by state.", []string{tenantLabel, "state"}, nil),
	})
}

func engineLabels() []string { return []string{tenantLabel, "model", "version", "state"} }

type engineCollector struct {
	engine                        *serve.Engine
	requests, rows, bytes, loaded *prometheus.Desc
}

func (c engineCollector) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{c.requests, c.rows, c.bytes, c.loaded} {
		ch <- d
	}
}

func (c engineCollector) Collect(ch chan<- prometheus.Metric) {
	type group struct{ tenant, state string }
	count := map[group]int{}
	for _, s := range c.engine.Statuses() {
		count[group{string(s.Tenant), string(s.State)}]++
		gauge := func(d *prometheus.Desc, v float64) {
			ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, string(s.Tenant), s.Model, strconv.Itoa(s.Version), string(s.State))
		}
		gauge(c.requests, float64(s.QueuedRequests))
		gauge(c.rows, float64(s.QueuedRows))
		gauge(c.bytes, float64(s.MemoryBytes))
	}
	for g, n := range count {
		ch <- prometheus.MustNewConstMetric(c.loaded, prometheus.GaugeValue, float64(n), g.tenant, g.state)
	}
}

// Serve answers a scrape with what p's tenant may see.
func (m *Metrics) Serve(w http.ResponseWriter, r *http.Request, p tenant.Principal) error {
	only := prometheus.GathererFunc(func() ([]*dto.MetricFamily, error) {
		all, err := m.registry.Gather()
		return visible(all, p.Tenant), err
	})
	promhttp.HandlerFor(only, promhttp.HandlerOpts{DisableCompression: true}).ServeHTTP(w, r)
	return nil
}

// visible drops the series that are another tenant's.
func visible(all []*dto.MetricFamily, t tenant.ID) []*dto.MetricFamily {
	var families []*dto.MetricFamily
	for _, f := range all {
		var kept []*dto.Metric
		for _, m := range f.Metric {
			owner := string(t)
			for _, l := range m.Label {
				if l.GetName() == tenantLabel && l.GetValue() != "" {
					owner = l.GetValue()
				}
			}
			if owner == string(t) {
				kept = append(kept, m)
			}
		}
		if len(kept) > 0 {
			families = append(families, &dto.MetricFamily{Name: f.Name, Help: f.Help, Type: f.Type, Unit: f.Unit, Metric: kept})
		}
	}
	return families
}
