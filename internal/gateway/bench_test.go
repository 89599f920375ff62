package gateway

import (
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// discard is a ResponseWriter that costs nothing itself.
type discard struct{ h http.Header }

func (d *discard) Header() http.Header         { return d.h }
func (d *discard) Write(b []byte) (int, error) { return len(b), nil }
func (d *discard) WriteHeader(int)             {}

// BenchmarkInfer is a request of four features through the whole handler: key, role,
// JSON, queue, step, JSON, metrics; all but the socket and the log.
func BenchmarkInfer(b *testing.B) {
	w := newWorld(b, Config{Log: slog.New(slog.DiscardHandler)})
	w.listen(b)
	w.publish(b, w.owner, "m", "", "one")
	w.do(b, w.owner, "POST", "/api/v1/deployments", `{"model":"m"}`).want(b, 201, "")
	b.ReportAllocs()
	for b.Loop() {
		r := httptest.NewRequest("POST", "/v2/models/m/infer", nil)
		r.Body = io.NopCloser(strings.NewReader(four))
		r.ContentLength = int64(len(four))
		r.Header.Set("Authorization", "Bearer "+w.owner)
		w.gateway.ServeHTTP(&discard{http.Header{}}, r)
	}
}

// BenchmarkRequestOnly is what the benchmark above spends on making its request.
func BenchmarkRequestOnly(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		r := httptest.NewRequest("POST", "/v2/models/m/infer", nil)
		r.Body = io.NopCloser(strings.NewReader(four))
		r.Header.Set("Authorization", "Bearer x")
		_ = &discard{http.Header{}}
	}
}
