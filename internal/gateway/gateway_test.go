package gateway

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"tandem/fault"
	"tandem/internal/api"
	"tandem/internal/blob"
	"tandem/internal/registry"
	"tandem/internal/serve"
	"tandem/internal/store"
	"tandem/internal/tenant"
	"tandem/model"
	"tandem/tensor"
)

// doubler answers y = 2x; it panics at 13; at 15 it counts itself as held and
// waits for gate.
type doubler struct {
	held *atomic.Int32
	gate chan struct{}
}

func (doubler) Signature() model.Signature {
	return model.Signature{
		Inputs:  []model.TensorSpec{{Name: "x", DType: "float32", Shape: []int{-1, 4}}},
		Outputs: []model.TensorSpec{{Name: "y", DType: "float32", Shape: []int{-1, 4}}}, Batch: true,
	}
}
func (doubler) MemoryBytes() int64 { return 1000 }
func (doubler) Close() error       { return nil }
func (d doubler) Run(_ context.Context, in []*tensor.Tensor) ([]*tensor.Tensor, error) {
	out := in[0].Clone()
	for i, v := range out.F32() {
		switch v {
		case 13:
			panic("secret of a model")
		case 15:
			d.held.Add(1)
			<-d.gate
		}
		out.F32()[i] = 2 * v
	}
	return []*tensor.Tensor{out}, nil
}

// world is a whole server: SQLite, blobs, engine and gateway, with a fake model.
type world struct {
	tenants *tenant.Service
	gateway *Gateway
	deps    api.Deps
	owner   string       // secret of tenant default
	held    atomic.Int32 // requests that have come to the gate
	gate    chan struct{}
	log     *lockedBuffer
	url     string
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func newWorld(t testing.TB, c Config) *world {
	t.Helper()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	w := &world{gate: make(chan struct{}), log: &lockedBuffer{}}
	db, err := store.Open(t.Context(), t.TempDir())
	must(err)
	t.Cleanup(func() { _ = db.Close() })
	blobs, err := blob.OpenDir(t.TempDir())
	must(err)
	w.tenants = tenant.New(db, time.Now)
	w.owner, _, err = w.tenants.Bootstrap(t.Context())
	must(err)
	models := registry.New(db, blobs, time.Now)
	metrics := api.NewMetrics()
	engine, err := serve.New(serve.Config{
		Load: func(_ context.Context, m *model.Manifest, path func(model.File) (string, error)) (serve.Runner, error) {
			if m.Family == "broken" {
				return nil, fault.New("model.load", fault.Corrupt, "the weights of %s are damaged", m.Files[0].Name).Try("upload them again")
			}
			_, err := path(m.Files[0])
			return doubler{&w.held, w.gate}, err
		},
		Record: w.tenants.Record, Observe: metrics.Step,
	})
	must(err)
	metrics.Watch(engine)
	w.deps = api.Deps{
		Tenants: w.tenants, Registry: models, Engine: engine, Rollout: serve.NewRollout(engine, models),
		Metrics: metrics, Version: "1.2.3", Ready: engine.Ready, Now: time.Now,
		Bodies: api.BodyLimits{InferBytes: 1 << 20, JSONBytes: 4096},
	}
	if c.Authenticate == nil {
		c.Authenticate = w.tenants.Authenticate
	}
	if c.Log == nil {
		c.Log = slog.New(slog.NewTextHandler(w.log, nil))
	}
	w.gateway, err = New(c, w.deps)
	must(err)
	return w
}

// listen serves the world over TCP.
func (w *world) listen(t testing.TB) *Server {
	t.Helper()
	s, err := Listen(t.Context(), "127.0.0.1:0", w.gateway)
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		if err := s.Serve(); err != nil {
			t.Error(err)
		}
	}()
	t.Cleanup(func() { _ = s.Close() })
	w.url = "http://" + s.Addr()
	return s
}

type answer struct {
	status int
	body   string
	header http.Header
}

// do sends a request; body may be a string, an io.Reader or a value for JSON.
func (w *world) do(t testing.TB, key, method, path string, body any, headers ...string) answer {
	t.Helper()
	var r io.Reader
	switch b := body.(type) {
	case nil:
	case string:
		r = strings.NewReader(b)
	case io.Reader:
		r = b
	default:
		data, err := json.Marshal(b)
		if err != nil {
			t.Fatal(err)
		}
		r = bytes.NewReader(data)
	}
	q, err := http.NewRequestWithContext(t.Context(), method, w.url+path, r)
	if err != nil {
		t.Fatal(err)
	}
	if key != "" {
		q.Header.Set("Authorization", "Bearer "+key)
	}
	for i := 0; i < len(headers); i += 2 {
		q.Header.Set(headers[i], headers[i+1])
	}
	res, err := http.DefaultClient.Do(q)
	if err != nil {
		t.Fatalf("%s %s: %v", method, path, err)
	}
	defer res.Body.Close()
	data, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer{res.StatusCode, string(data), res.Header}
}

func (a answer) want(t testing.TB, status int, text string) answer {
	t.Helper()
	if a.status != status || !strings.Contains(a.body, text) {
		t.Errorf("got %d %s\nwant %d %s", a.status, a.body, status, text)
	}
	return a
}

// publish uploads a version of a model and returns its number.
func (w *world) publish(t testing.TB, key, name, family string, weights string) int {
	t.Helper()
	d := blob.Sum([]byte(weights))
	w.do(t, key, "PUT", "/api/v1/blobs/"+string(d), weights).want(t, 201, "")
	m := model.Manifest{Format: model.FormatVersion, Family: family, Signature: doubler{}.Signature(),
		Stages: []model.StageSpec{{Kind: "graph", File: "w.bin"}}, Files: []model.File{{Name: "w.bin", Digest: d, Bytes: int64(len(weights))}}}
	a := w.do(t, key, "POST", "/api/v1/models/"+name+"/versions", string(m.Encode())).want(t, 201, `"number"`)
	var v struct{ Number int }
	if err := json.Unmarshal([]byte(a.body), &v); err != nil {
		t.Fatal(err)
	}
	again := w.do(t, key, "POST", "/api/v1/models/"+name+"/versions", string(m.Encode()))
	if again.body != a.body {
		t.Errorf("created twice: %s and %s", a.body, again.body)
	}
	return v.Number
}

const four = `{"inputs":[{"name":"x","shape":[1,4],"datatype":"FP32","data":[1,2,3,4]}]}`

// TestEveryRouteWantsAKey walks the table: 401 without a key, with a wrong one, and in
// the protocol's form.
func TestEveryRouteWantsAKey(t *testing.T) {
	w := newWorld(t, Config{})
	public := map[string]bool{"/v2/health/live": true, "/v2/health/ready": true}
	for _, route := range api.Routes(w.deps) {
		path := strings.NewReplacer("{$}", "", "{model}", "m", "{version}", "1", "{digest}", "sha256:00", "{key}", "k").Replace(route.Pattern)
		for _, header := range []string{"", "Bearer td_wrong", "Basic Zm9vOmJhcg==", "Bearer"} {
			r := httptest.NewRequest(route.Method, path, nil)
			r.Header.Set("Authorization", header)
			rec := httptest.NewRecorder()
			w.gateway.ServeHTTP(rec, r)
			if public[route.Pattern] {
				if rec.Code != 200 {
					t.Errorf("%s %s: %d %s", route.Method, path, rec.Code, rec.Body)
				}
				continue
			}
			form := `{"error":{"kind":"unauthenticated","message":"the key is missing, wrong or revoked",`
			if strings.HasPrefix(path, "/v2") {
				form = `{"error":"the key is missing, wrong or revoked`
			}
			if strings.HasPrefix(path, "/v1/") {
				form = `{"error":{"message":"the key is missing, wrong or revoked`
			}
			if rec.Code != 401 || !strings.HasPrefix(rec.Body.String(), form) || rec.Header().Get("WWW-Authenticate") == "" {
				t.Errorf("%s %s with %q: %d %s", route.Method, path, header, rec.Code, rec.Body)
			}
		}
	}
}

func TestWholeWay(t *testing.T) {
	w := newWorld(t, Config{})
	s := w.listen(t)
	if n := w.publish(t, w.owner, "m", "", "one"); n != 1 {
		t.Fatalf("version %d", n)
	}
	w.publish(t, w.owner, "m", "", "two")
	w.publish(t, w.owner, "m", "broken", "three")
	w.do(t, w.owner, "POST", "/v2/models/m/infer", four).want(t, 404, `no model \"m\" is deployed`)
	w.do(t, w.owner, "POST", "/api/v1/deployments", `{"model":"m","version":1}`).want(t, 201, `"state":"serving"`)
	w.do(t, w.owner, "POST", "/v2/models/m/infer", four).want(t, 200, `{"model_name":"m","model_version":"1","outputs":[{"name":"y","datatype":"FP32","shape":[1,4],"data":[2,4,6,8]}]}`)
	w.do(t, w.owner, "POST", "/api/v1/deployments", `{"model":"m","version":2}`).want(t, 201, `"version":2`)
	w.do(t, w.owner, "POST", "/v2/models/m/versions/2/infer", four).want(t, 200, `"model_version":"2"`)
	w.do(t, w.owner, "POST", "/v2/models/m/versions/1/infer", four).want(t, 404, `version 1 of model \"m\" is not deployed: version 2 is`)
	// A version that cannot be loaded is refused, and the old one serves on.
	w.do(t, w.owner, "POST", "/api/v1/deployments", `{"model":"m"}`).want(t, 500, `"kind":"corrupt","message":"model m version 3 could not be loaded: the weights of w.bin are damaged","remedy":"upload them again"`)
	w.do(t, w.owner, "POST", "/v2/models/m/infer", four).want(t, 200, `"model_version":"2"`)
	w.do(t, w.owner, "POST", "/api/v1/deployments/m/rollback", nil).want(t, 200, `"version":1`)
	w.do(t, w.owner, "POST", "/v2/models/m/infer", four).want(t, 200, `"model_version":"1"`)
	w.do(t, w.owner, "POST", "/api/v1/deployments/m/rollback", nil).want(t, 409, `"kind":"conflict"`)
	w.do(t, w.owner, "GET", "/api/v1/deployments", nil).want(t, 200, `"version":1,`)
	w.do(t, w.owner, "DELETE", "/api/v1/models/m", nil).want(t, 409, "end the deployment")
	w.do(t, w.owner, "GET", "/api/v1/models/m/versions/1/manifest", nil).want(t, 200, `"format"`)
	w.do(t, w.owner, "GET", "/api/v1/models/m/versions/x", nil).want(t, 404, "is not a version")
	w.do(t, w.owner, "GET", "/api/v1/blobs/"+string(blob.Sum([]byte("one"))), nil).want(t, 200, "one")
	w.do(t, w.owner, "GET", "/api/v1/blobs/"+string(blob.Sum([]byte("one"))), nil, "Range", "bytes=1-").want(t, 206, "ne")
	w.do(t, w.owner, "HEAD", "/api/v1/blobs/"+string(blob.Sum([]byte("none"))), nil).want(t, 404, "")
	w.do(t, w.owner, "HEAD", "/api/v1/blobs/"+string(blob.Sum([]byte("two"))), nil).want(t, 200, "")
	w.do(t, w.owner, "PUT", "/api/v1/blobs/"+string(blob.Sum([]byte("one"))), "other").want(t, 400, `"kind":"invalid"`)
	w.do(t, w.owner, "PUT", "/api/v1/blobs/sha256:zz", "other").want(t, 400, "is not a digest")

	// Another tenant learns nothing.
	_, other, err := w.tenants.CreateTenant(t.Context(), "other")
	if err != nil {
		t.Fatal(err)
	}
	w.do(t, other, "POST", "/v2/models/m/infer", four).want(t, 404, `no model \"m\" is deployed`)
	w.do(t, other, "GET", "/v2/models/m", nil).want(t, 404, "")
	w.do(t, other, "GET", "/api/v1/models/m", nil).want(t, 404, "")
	w.do(t, other, "GET", "/api/v1/blobs/"+string(blob.Sum([]byte("one"))), nil).want(t, 404, "")
	w.do(t, other, "GET", "/api/v1/models", nil).want(t, 200, `{"data":[]}`)
	if a := w.do(t, other, "GET", "/metrics", nil).want(t, 200, "go_goroutines"); strings.Contains(a.body, `model="m"`) {
		t.Error("metrics show another tenant's model")
	}

	metrics := w.do(t, w.owner, "GET", "/metrics", nil)
	for _, text := range []string{`tandem_requests_total{model="m",route="/v2/models/{model}/infer",status="200",tenant="`, "tandem_batch_rows_bucket", "tandem_compute_seconds_total",
		"tandem_queued_requests", `tandem_model_memory_bytes{model="m",state="serving"`, `tandem_models{state="serving"`, "tandem_request_seconds_bucket"} {
		metrics.want(t, 200, text)
	}
	w.do(t, w.owner, "GET", "/api/v1/usage", nil).want(t, 200, `"model":"m","version":1,"requests":2,"errors":0,"rows":2,"prompt_tokens":0,"answer_tokens":0,"compute_ns":`)
	w.do(t, w.owner, "GET", "/api/v1/usage?since=1", nil).want(t, 400, `unknown query parameter \"since\"`)
	w.do(t, w.owner, "GET", "/api/v1/usage?from=tomorrow", nil).want(t, 400, `expected a day such as`)

	w.do(t, w.owner, "DELETE", "/api/v1/deployments/m", nil).want(t, 204, "")
	w.do(t, w.owner, "POST", "/v2/models/m/infer", four).want(t, 404, "")
	if err := s.Drain(t.Context()); err != nil {
		t.Error(err)
	}
	if log := w.log.String(); strings.Contains(log, w.owner) || strings.Contains(log, "tomorrow") || !strings.Contains(log, "path=/v2/models/m/infer status=200") {
		t.Errorf("log: %s", log)
	}
}

func TestKeysAndRoles(t *testing.T) {
	w := newWorld(t, Config{})
	w.listen(t)
	made := func(role string) (id, secret string) {
		a := w.do(t, w.owner, "POST", "/api/v1/keys", map[string]string{"name": "k", "role": role}).want(t, 201, `"secret":"td_`)
		var k struct{ ID, Secret string }
		if err := json.Unmarshal([]byte(a.body), &k); err != nil {
			t.Fatal(err)
		}
		return k.ID, k.Secret
	}
	id, user := made("user")
	_, developer := made("developer")
	w.do(t, user, "GET", "/api/v1/whoami", nil).want(t, 200, `"role":"user"`)
	w.do(t, "", "GET", "/api/v1/whoami", nil, "X-API-Key", user).want(t, 200, `"role":"user"`)
	w.do(t, user, "GET", "/api/v1/models", nil).want(t, 403, `"kind":"denied","message":"a key with role \"user\" may not read models"`)
	w.do(t, user, "GET", "/metrics", nil).want(t, 403, "")
	w.do(t, developer, "GET", "/api/v1/models", nil).want(t, 200, "")
	w.do(t, developer, "GET", "/api/v1/keys", nil).want(t, 403, "")
	if a := w.do(t, w.owner, "GET", "/api/v1/keys", nil).want(t, 200, id); strings.Contains(a.body, "secret") {
		t.Error("the list shows secrets")
	}
	w.do(t, w.owner, "DELETE", "/api/v1/keys/"+id, nil).want(t, 204, "")
	w.do(t, user, "GET", "/api/v1/whoami", nil).want(t, 401, "missing, wrong or revoked")
	w.do(t, w.owner, "DELETE", "/api/v1/keys/none", nil).want(t, 404, "")
	for body, text := range map[string]string{
		`{"name":"a","role":"user","admin":true}`:       `unknown field \"admin\"`,
		`{"name":"a","role":"user","Name":"b"}`:         `unknown field \"Name\"`,
		`{"name":"a","name":"b","role":"user"}`:         `field \"name\" is given twice`,
		`{"name":5,"role":"user"}`:                      `name is a number, expected a string`,
		`{"name":"a","role":"user"} {}`:                 `flat JSON object|more after the end|given twice`,
		`{"name":"a","role":"king"}`:                    `is not a role`,
		`{"name":"a"`:                                   `ends too early`,
		``:                                              `ends too early`,
		`{"name":` + strings.Repeat("[", 3000) + "1}":   `flat JSON object`,
		`[` + strings.Repeat(`"aaaaaaaaa",`, 500) + `]`: `the limit of 4096 bytes`,
	} {
		a := w.do(t, w.owner, "POST", "/api/v1/keys", body)
		found := false
		for _, alternative := range strings.Split(text, "|") {
			found = found || strings.Contains(a.body, alternative)
		}
		if a.status != 400 && a.status != 413 || !found {
			t.Errorf("%.60s: %d %s, want %s", body, a.status, a.body, text)
		}
	}
	w.do(t, w.owner, "POST", "/api/v1/keys", "name: a", "Content-Type", "application/yaml").want(t, 415, `"kind":"invalid"`)
	for body, text := range map[string]string{`{"version":1}`: `field \"model\" is missing`, `{"model":"m","version":-1}`: `is -1`, `{"model":"m","version":"1"}`: `expected an integer`} {
		w.do(t, w.owner, "POST", "/api/v1/deployments", body).want(t, 400, text)
	}
	w.do(t, w.owner, "POST", "/api/v1/deployments", `{"model":"m"}`).want(t, 404, `there is no model`)
}

func TestDoorErrors(t *testing.T) {
	w := newWorld(t, Config{})
	w.listen(t)
	w.do(t, "", "GET", "/nowhere", nil).want(t, 404, `{"error":{"kind":"not found","message":"no such path`)
	w.do(t, "", "GET", "/v2/nowhere", nil).want(t, 404, `{"error":"no such path`)
	a := w.do(t, w.owner, "GET", "/v2/models/m/infer", nil).want(t, 405, `{"error":"this path does not take the method (use POST)"}`)
	if a.header.Get("Allow") != "POST" || a.header.Get("X-Request-Id") == "" {
		t.Errorf("header %v", a.header)
	}
	w.do(t, w.owner, "PATCH", "/api/v1/keys", nil).want(t, 405, `"message":"this path does not take the method"`)
	for id, kept := range map[string]bool{"abc-1.2_X": true, "a b": false, strings.Repeat("a", 65): false, "a\"b": false} {
		if got := w.do(t, w.owner, "GET", "/v2", nil, "X-Request-Id", id).header.Get("X-Request-Id"); (got == id) != kept || got == "" {
			t.Errorf("request id %q became %q", id, got)
		}
	}
	w.publish(t, w.owner, "m", "", "one")
	w.do(t, w.owner, "POST", "/api/v1/deployments", `{"model":"m"}`).want(t, 201, "")
	// A gigabyte is refused by what it announces, and by what comes without announcement.
	var sent atomic.Int64
	r, err := http.NewRequestWithContext(t.Context(), "POST", w.url+"/v2/models/m/infer", io.LimitReader(counted{&sent}, 1<<30))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+w.owner)
	r.Header.Set("Expect", "100-continue")
	r.ContentLength = 1 << 30
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if text, _ := io.ReadAll(res.Body); res.StatusCode != 413 || !strings.Contains(string(text), "the limit of 1048576 bytes") || sent.Load() > 1<<26 {
		t.Errorf("%d after %d bytes: %s", res.StatusCode, sent.Load(), text)
	}
	w.do(t, w.owner, "POST", "/v2/models/m/infer", io.LimitReader(zeros{}, 1<<20+1)).want(t, 413, "the limit of 1048576 bytes")
	w.do(t, w.owner, "POST", "/api/v1/keys", io.LimitReader(zeros{}, 5000)).want(t, 413, "more than the limit of 4096 bytes")
	w.do(t, w.owner, "GET", "/v2/models/m", "body").want(t, 413, "takes no body")
	// A panic in the model: an internal error with the request's id, and the server goes on.
	a = w.do(t, w.owner, "POST", "/v2/models/m/infer", strings.Replace(four, "1,2,3,4", "13,2,3,4", 1), "X-Request-Id", "boom").
		want(t, 500, `{"error":"model m version 1 failed (the server's log has the cause, under request boom)"}`)
	if !strings.Contains(w.log.String(), "secret of a model") || !strings.Contains(w.log.String(), "doubler.Run") {
		t.Errorf("the log lacks the cause or its stack: %s", w.log)
	}
	w.do(t, w.owner, "POST", "/v2/models/m/infer", four).want(t, 200, "")
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

// counted is zeros that are counted.
type counted struct{ n *atomic.Int64 }

func (c counted) Read(p []byte) (int, error) { c.n.Add(int64(len(p))); return zeros{}.Read(p) }

func TestHandlerPanicIsContained(t *testing.T) {
	w := newWorld(t, Config{Authenticate: func(context.Context, string) (tenant.Principal, error) { panic("at the door") }})
	w.listen(t)
	w.do(t, "k", "GET", "/v2", nil).want(t, 500, `{"error":"the request failed (the server's log has the cause, under request `)
	w.do(t, "k", "GET", "/api/v1/keys", nil).want(t, 500, `{"error":{"kind":"internal","message":"the request failed"`)
	if !strings.Contains(w.log.String(), "at the door") {
		t.Error("the panic is not logged")
	}
}

func TestConcurrencyPerKeyAndDrain(t *testing.T) {
	w := newWorld(t, Config{MaxConcurrentPerKey: 2})
	s := w.listen(t)
	w.publish(t, w.owner, "m", "", "one")
	w.do(t, w.owner, "POST", "/api/v1/deployments", `{"model":"m"}`).want(t, 201, "")
	var group sync.WaitGroup
	for range 2 {
		group.Go(func() {
			w.do(t, w.owner, "POST", "/v2/models/m/infer", strings.Replace(four, "1,2,3,4", "15,2,3,4", 1)).want(t, 200, `"data":[30,`)
		})
	}
	until(t, func() bool { return w.gateway.inFlight.Load() == 2 })
	a := w.do(t, w.owner, "GET", "/v2", nil).want(t, 429, "the limit MaxConcurrentPerKey is 2")
	if a.header.Get("Retry-After") == "" {
		t.Error("no Retry-After")
	}
	drained := make(chan error, 1)
	go func() { drained <- s.Drain(t.Context()) }()
	until(t, func() bool { return w.gateway.draining.Load() })
	w.do(t, "", "GET", "/v2/health/live", nil).want(t, 200, "")
	w.do(t, "", "GET", "/v2/health/ready", nil).want(t, 503, "the server is shutting down")
	w.do(t, w.owner, "POST", "/v2/models/m/infer", four).want(t, 503, "shutting down")
	select {
	case err := <-drained:
		t.Errorf("drained with requests in flight: %v", err)
	default:
	}
	close(w.gate)
	group.Wait()
	if err := <-drained; err != nil {
		t.Error(err)
	}
	if _, err := net.Dial("tcp", s.Addr()); err == nil {
		t.Error("the listener is open")
	}
}

func until(t testing.TB, ok func() bool) {
	t.Helper()
	for start := time.Now(); time.Since(start) < time.Minute; time.Sleep(2 * time.Millisecond) {
		if ok() {
			return
		}
	}
	t.Fatal("it does not happen")
}

func TestDrainGivesUpWithItsContext(t *testing.T) {
	w := newWorld(t, Config{})
	s := w.listen(t)
	w.publish(t, w.owner, "m", "", "one")
	w.do(t, w.owner, "POST", "/api/v1/deployments", `{"model":"m"}`).want(t, 201, "")
	r := httptest.NewRequest("POST", "/v2/models/m/infer", strings.NewReader(strings.Replace(four, "1,2,3,4", "15,2,3,4", 1)))
	r.Header.Set("Authorization", "Bearer "+w.owner)
	done := make(chan struct{})
	go func() { w.gateway.ServeHTTP(httptest.NewRecorder(), r); close(done) }()
	until(t, func() bool { return w.gateway.inFlight.Load() == 1 })
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if err := s.Drain(ctx); fault.KindOf(err) != fault.Deadline || !strings.Contains(err.Error(), "1 requests did not finish") {
		t.Errorf("drain: %v", err)
	}
	close(w.gate)
	<-done
}

func TestListenAndInsecure(t *testing.T) {
	w := newWorld(t, Config{})
	s := w.listen(t)
	_, err := Listen(t.Context(), s.Addr(), w.gateway)
	if fault.KindOf(err) != fault.Conflict || !strings.Contains(err.Error(), s.Addr()) || !strings.Contains(fault.RemedyOf(err), "--http") {
		t.Errorf("taken: %v", err)
	}
	if _, err := Listen(t.Context(), "nonsense", w.gateway); fault.KindOf(err) != fault.Invalid {
		t.Errorf("nonsense: %v", err)
	}
	for addr, kind := range map[string]fault.Kind{
		"0.0.0.0:1": fault.Denied, ":8080": fault.Denied, "[::]:1": fault.Denied, "192.168.1.1:1": fault.Denied, "example.com:1": fault.Denied, "127.0.0.1": fault.Invalid,
	} {
		if _, err := OpenAs("t", addr); fault.KindOf(err) != kind || err == nil {
			t.Errorf("OpenAs(%s): %v", addr, err)
		}
	}
	for _, addr := range []string{"127.0.0.1:0", "localhost:80", "[::1]:1", "127.9.9.9:1"} {
		if _, err := OpenAs("t", addr); err != nil {
			t.Errorf("OpenAs(%s): %v", addr, err)
		}
	}
	open, err := OpenAs("t", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	w = newWorld(t, Config{Insecure: open})
	if _, err := Listen(t.Context(), "0.0.0.0:0", w.gateway); fault.KindOf(err) != fault.Denied {
		t.Errorf("insecure on every address: %v", err)
	}
	w.listen(t)
	w.do(t, "", "GET", "/api/v1/whoami", nil).want(t, 200, `"role":"owner","tenant":"t"`)
	w.do(t, "", "POST", "/api/v1/keys", "{}", "Origin", "https://evil.example", "Sec-Fetch-Site", "cross-site").want(t, 403, "localhost")
	r := httptest.NewRequest("GET", "http://evil.example/v2", nil)
	rec := httptest.NewRecorder()
	w.gateway.ServeHTTP(rec, r)
	if rec.Code != 403 {
		t.Errorf("a foreign name: %d %s", rec.Code, rec.Body)
	}
}

// TestClientThatLeavesFreesItsPlace checks that net/http's notice of a closed
// connection reaches the queue.
func TestClientThatLeavesFreesItsPlace(t *testing.T) {
	w := newWorld(t, Config{})
	w.listen(t)
	w.publish(t, w.owner, "m", "", "one")
	w.do(t, w.owner, "POST", "/api/v1/deployments", `{"model":"m"}`).want(t, 201, "")
	send := func(first int) net.Conn {
		c, err := net.Dial("tcp", strings.TrimPrefix(w.url, "http://"))
		if err != nil {
			t.Fatal(err)
		}
		body := strings.Replace(four, "1,2,3,4", fmt.Sprint(first, ",2,3,4"), 1)
		fmt.Fprintf(c, "POST /v2/models/m/infer HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\nContent-Length: %d\r\n\r\n%s", w.owner, len(body), body)
		return c
	}
	defer send(15).Close()
	until(t, func() bool { return w.held.Load() == 1 }) // only then is the model busy
	waiting := send(1)
	queued := func(n int) func() bool {
		return func() bool { s := w.deps.Engine.Statuses(); return s[0].QueuedRequests == n }
	}
	until(t, queued(1))
	_ = waiting.Close()
	until(t, queued(0))
	close(w.gate)
}
