package openai

import (
	"encoding/json"
	"net/http"
	"time"

	"tandem/fault"
)

// events writes server-sent events.
type events struct {
	w       http.ResponseWriter
	control *http.ResponseController
}

// eventTimeout is how long a client may take to read one event.
const eventTimeout = time.Minute

// newEvents begins the stream. The headers go out at once: a client should not wait
// for them as long as for the first token.
func newEvents(w http.ResponseWriter) (*events, error) {
	h := w.Header()
	h.Set("Content-Type", "text/event-stream; charset=utf-8")
	h.Set("Cache-Control", "no-cache")
	h.Set("X-Accel-Buffering", "no")
	w.WriteHeader(http.StatusOK)
	e := &events{w, http.NewResponseController(w)}
	return e, e.flush()
}

func (e *events) flush() error { return fault.From(e.control.Flush(), "openai.stream") }

// data sends one event.
func (e *events) data(v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return fault.Wrap(err, "openai.stream", fault.Internal, "an event cannot be written")
	}
	return e.raw(b)
}

func (e *events) raw(b []byte) error {
	_ = e.control.SetWriteDeadline(time.Now().Add(eventTimeout)) // a test's recorder has none
	if _, err := e.w.Write(append(append([]byte("data: "), b...), '\n', '\n')); err != nil {
		return fault.From(err, "openai.stream")
	}
	return e.flush()
}

// end ends a stream: with the last event, if there is one, or with an error, which
// clients raise.
func (e *events) end(last any, err error, requestID string) error {
	if err != nil {
		_, wire := describe(err, requestID)
		_ = e.data(map[string]wireError{"error": wire}) // the client may have gone: then there is no one to tell
		return err
	}
	if last != nil {
		if err := e.data(last); err != nil {
			return err
		}
	}
	return e.raw([]byte("[DONE]"))
}
