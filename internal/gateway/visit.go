package gateway

import (
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"time"

	"tandem/fault"
	"tandem/internal/api"
	"tandem/internal/api/reply"
	"tandem/internal/serve"
	"tandem/internal/tenant"
)

// visit is one request on its way: the http.ResponseWriter that handlers write to, and
// what is logged of it.
type visit struct {
	http.ResponseWriter
	id        string
	path      string
	start     time.Time
	route     *api.Route // nil until the mux has found it
	principal tenant.Principal
	status    int
	bytes     int64
	err       error
	stack     []byte
	mute      bool // the mux's own text is not sent
}

// WriteHeader sends the status. Before a route is found only the mux writes: its 404
// and 405 are plain text, and are said in the protocol's form instead.
func (v *visit) WriteHeader(status int) {
	if v.status != 0 {
		return
	}
	if v.route == nil && (status == http.StatusNotFound || status == http.StatusMethodNotAllowed) {
		e := &reply.HTTPError{Status: status, Message: fmt.Sprintf("no such path: %.200q", v.path)}
		if status == http.StatusMethodNotAllowed {
			e.Message = "this path does not take the method"
			e.Remedy = "use " + v.Header().Get("Allow")
		}
		v.err = e
		v.fail(api.FailFor(v.path))
		v.mute = true
		return
	}
	v.status = status
	v.ResponseWriter.WriteHeader(status)
}

func (v *visit) Write(b []byte) (int, error) {
	if v.mute {
		return len(b), nil
	}
	if v.status == 0 {
		v.WriteHeader(http.StatusOK)
	}
	n, err := v.ResponseWriter.Write(b)
	v.bytes += int64(n)
	return n, err
}

// Unwrap is for http.ResponseController.
func (v *visit) Unwrap() http.ResponseWriter { return v.ResponseWriter }

// fail answers with v.err, unless an answer has begun: what is written cannot be taken
// back, and its Content-Length tells the client that it is not whole.
func (v *visit) fail(form api.Fail) {
	if v.status != 0 {
		return
	}
	h := v.Header()
	for _, name := range []string{"Content-Length", "Content-Encoding", "Etag", "Inference-Header-Content-Length"} {
		h.Del(name)
	}
	// The route is known to be none or to have failed: let WriteHeader pass.
	if v.route == nil {
		v.route = &api.Route{}
		defer func() { v.route = nil }()
	}
	form(v, v.id, v.err)
}

// stackOf is the stack of a panic, in a handler or in a model.
func (v *visit) stackOf() []byte {
	if p, ok := errors.AsType[*serve.PanicError](v.err); ok {
		return p.Stack
	}
	return v.stack
}

// requestID is the client's, if it can be logged and sent back as it is, else a new one.
func requestID(r *http.Request) string {
	id := r.Header.Get("X-Request-Id")
	if id == "" || len(id) > 64 {
		return newID()
	}
	for i := range len(id) {
		c := id[i]
		if !(c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '-' || c == '_' || c == '.') {
			return newID()
		}
	}
	return id
}

func newID() string {
	const hex = "0123456789abcdef"
	var b [16]byte
	n := rand.Uint64()
	for i := range b {
		b[i] = hex[n>>(4*i)&15]
	}
	return string(b[:])
}

// boundBody bounds the bytes of a body, and the time that it may take to come. It is nil
// for no body.
func (g *Gateway) boundBody(v *visit, r *http.Request) (*boundedBody, error) {
	limit := v.route.Limits
	control := http.NewResponseController(v.ResponseWriter)
	if limit.Timeout > writeTimeout {
		// Not every connection has deadlines to set (a test's recorder has none).
		_ = control.SetWriteDeadline(v.start.Add(limit.Timeout))
	}
	if r.Body == nil || r.Body == http.NoBody || r.ContentLength == 0 {
		return nil, nil
	}
	if r.ContentLength > limit.BodyBytes {
		v.Header().Set("Connection", "close") // the rest is not read
		return nil, tooLarge(limit.BodyBytes)
	}
	_ = control.SetReadDeadline(v.start.Add(limit.Timeout))
	b := &boundedBody{
		ReadCloser: http.MaxBytesReader(v.ResponseWriter, r.Body, limit.BodyBytes), limit: limit, control: control, gateway: g,
	}
	r.Body = b
	return b, nil
}

func tooLarge(limit int64) error {
	if limit == 0 {
		return fault.New("gateway.body", fault.TooLarge, "this request takes no body")
	}
	return fault.New("gateway.body", fault.TooLarge, "the body has more than the limit of %d bytes", limit).
		Try("send less in one request")
}

// boundedBody turns what can go wrong with a body into faults. At its end it lifts the
// deadline: net/http goes on reading to notice a client that leaves, and would take an
// old deadline for that.
type boundedBody struct {
	io.ReadCloser
	limit   api.Limits
	control *http.ResponseController
	ended   bool
	gateway *Gateway
	kept    int64 // of the gateway's bodies
}

// Keep counts bytes that the request holds in memory: those that come, and those that a
// handler says they expand to.
func (b *boundedBody) Keep(n int) error {
	b.kept += int64(n)
	if all, most := b.gateway.bodies.Add(int64(n)), b.gateway.config.MaxHeldBytes; all > most {
		return fault.New("gateway.body", fault.Exhausted, "the bodies of the requests in flight have more than %d bytes together: the limit MaxHeldBytes", most).
			Try("send it again when others are answered, or send less in one request")
	}
	return nil
}

// leave gives back what has been kept.
func (b *boundedBody) leave() {
	if b != nil {
		b.gateway.bodies.Add(-b.kept)
	}
}

func (b *boundedBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if !b.limit.Streams && n > 0 {
		if err := b.Keep(n); err != nil {
			return 0, err
		}
	}
	if err == nil {
		return n, nil
	}
	if !b.ended {
		b.ended = true
		_ = b.control.SetReadDeadline(time.Time{})
	}
	switch _, large := errors.AsType[*http.MaxBytesError](err); {
	case err == io.EOF:
		return n, err
	case large:
		return n, tooLarge(b.limit.BodyBytes)
	case errors.Is(err, os.ErrDeadlineExceeded):
		return n, fault.New("gateway.body", fault.Deadline, "the body took longer than %v to come", b.limit.Timeout)
	}
	return n, fault.Wrap(err, "gateway.body", fault.Invalid, "the body cannot be read")
}
