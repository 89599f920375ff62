package oip

import (
	"net/http"
	"strconv"
	"sync"

	"tandem/fault"
	"tandem/internal/api/reply"
	"tandem/internal/serve"
	"tandem/internal/tenant"
	"tandem/model"
)

// headerLength is where the JSON ends and binary data begins, in both directions.
const headerLength = "Inference-Header-Content-Length"

// maxPooledBytes bounds the buffers that wait for the next request.
const maxPooledBytes = 256 << 10

// answerFactor is how much larger an answer may be than the largest body of a request.
const answerFactor = 16

// Service answers the protocol's requests.
type Service struct {
	engine       *serve.Engine
	ready        func() error
	version      string
	maxBodyBytes int64
	buffers      sync.Pool // of *buffers
}

// buffers are a request's body and its answer.
type buffers struct{ in, out []byte }

// New makes a service. ready says whether the server takes requests; maxBodyBytes
// bounds what a compressed body expands to.
func New(engine *serve.Engine, ready func() error, version string, maxBodyBytes int64) *Service {
	return &Service{
		engine: engine, ready: ready, version: version, maxBodyBytes: maxBodyBytes,
		buffers: sync.Pool{New: func() any { return &buffers{in: make([]byte, 0, 4096), out: make([]byte, 0, 4096)} }},
	}
}

// WriteError answers with the protocol's error: an object with one string.
func WriteError(w http.ResponseWriter, requestID string, err error) {
	status := reply.StatusOf(err)
	message, remedy := reply.Text(err, requestID)
	if remedy != "" {
		message += " (" + remedy + ")"
	}
	reply.Headers(w.Header(), status)
	b := append(appendString([]byte(`{"error":`), message), '}')
	send(w, status, "application/json", b)
}

func send(w http.ResponseWriter, status int, media string, b []byte) error {
	h := w.Header()
	h.Set("Content-Type", media)
	h.Set("Content-Length", strconv.Itoa(len(b)))
	w.WriteHeader(status)
	_, err := w.Write(b)
	return fault.From(err, "oip.send")
}

// Live answers as long as the process does.
func (s *Service) Live(w http.ResponseWriter, _ *http.Request, _ tenant.Principal) error {
	return send(w, http.StatusOK, "application/json", []byte(`{"live":true}`))
}

// Ready answers 200 when the server takes requests and 503 when not.
func (s *Service) Ready(w http.ResponseWriter, _ *http.Request, _ tenant.Principal) error {
	if err := s.ready(); err != nil {
		return err
	}
	return send(w, http.StatusOK, "application/json", []byte(`{"ready":true}`))
}

// Server describes the server. The extensions are those that are really there.
func (s *Service) Server(w http.ResponseWriter, _ *http.Request, _ tenant.Principal) error {
	b := appendString([]byte(`{"name":"tandem","version":`), s.version)
	return send(w, http.StatusOK, "application/json", append(b, `,"extensions":["binary_tensor_data"]}`...))
}

// Model describes a model that is deployed.
func (s *Service) Model(w http.ResponseWriter, r *http.Request, p tenant.Principal) error {
	d, err := s.describe(r, p)
	if err != nil {
		return err
	}
	b := appendString([]byte(`{"name":`), d.Model)
	b = append(b, `,"versions":["`...)
	b = strconv.AppendInt(b, int64(d.Version), 10)
	b = append(b, `"],"platform":"tandem","inputs":`...)
	b = appendSpecs(b, d.Signature.Inputs)
	b = append(b, `,"outputs":`...)
	b = appendSpecs(b, d.Signature.Outputs)
	return send(w, http.StatusOK, "application/json", append(b, '}'))
}

func appendSpecs(b []byte, specs []model.TensorSpec) []byte {
	b = append(b, '[')
	for i, s := range specs {
		b = appendString(append(comma(b, i), `{"name":`...), s.Name)
		b = append(b, `,"datatype":"`...)
		b = append(b, datatypeOf(s.Type())...)
		b = append(b, `","shape":`...)
		b = append(append(b, dims(s.Shape)...), '}')
	}
	return append(b, ']')
}

// ModelReady answers 200 when the model serves, 503 while it loads, 404 otherwise.
func (s *Service) ModelReady(w http.ResponseWriter, r *http.Request, p tenant.Principal) error {
	d, err := s.describe(r, p)
	if err != nil {
		return err
	}
	b := appendString([]byte(`{"name":`), d.Model)
	return send(w, http.StatusOK, "application/json", append(b, `,"ready":true}`...))
}

func (s *Service) describe(r *http.Request, p tenant.Principal) (serve.Description, error) {
	version, err := versionOf(r)
	if err != nil {
		return serve.Description{}, err
	}
	return s.engine.Describe(r.Context(), p.Tenant, r.PathValue("model"), version)
}

// versionOf is the version in the path; 0 if the path has none.
func versionOf(r *http.Request) (int, error) {
	text := r.PathValue("version")
	if text == "" {
		return 0, nil
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 {
		return 0, fault.New("oip.model", fault.NotFound, "%.40q is not a version: versions are 1, 2, …", text)
	}
	return n, nil
}

// Infer runs a model. The model is looked up before the body is read: a request for
// one that is not there costs nothing.
func (s *Service) Infer(w http.ResponseWriter, r *http.Request, p tenant.Principal) error {
	d, err := s.describe(r, p)
	if err != nil {
		return err
	}
	if err := checkMediaType(r); err != nil {
		return err
	}
	// Buffers return to the pool only when the request is answered: until then a step
	// that runs may still read tensors that borrow from them.
	buf := s.buffers.Get().(*buffers)
	if buf.in, err = readBody(r, buf.in, s.maxBodyBytes); err != nil {
		return err
	}
	split, err := headerBytes(r, buf.in)
	if err != nil {
		return err
	}
	q, err := parseInfer(buf.in[:split:split], buf.in[split:])
	if err != nil {
		return err
	}
	if _, err := q.wanted(d.Signature.Outputs); err != nil {
		return err // before the work
	}
	version, _ := versionOf(r) // checked by describe
	a, err := s.engine.Infer(r.Context(), &serve.Call{
		Tenant: p.Tenant, Key: p.Key, Model: d.Model, Version: version, Inputs: q.inputs, Timeout: q.timeout,
	})
	if err != nil {
		return err
	}
	out, jsonBytes, binary, err := appendResponse(buf.out[:0], q, d.Model, &a, answerFactor*s.maxBodyBytes)
	if err != nil {
		return err
	}
	media := "application/json"
	if binary {
		media = "application/octet-stream"
		w.Header().Set(headerLength, strconv.Itoa(jsonBytes))
	}
	err = send(w, http.StatusOK, media, out)
	if cap(out) <= maxPooledBytes && cap(buf.in) <= maxPooledBytes {
		buf.out = out[:0]
		s.buffers.Put(buf)
	}
	return err
}
