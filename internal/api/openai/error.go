package openai

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"

	"tandem/fault"
	"tandem/internal/api/reply"
)

// paramError is a fault of one parameter: always a 400, so that no client tries again.
type paramError struct {
	param, code string
	err         *fault.Error
}

func (e *paramError) Error() string { return e.err.Error() }
func (e *paramError) Unwrap() error { return e.err }

func invalid(param, format string, args ...any) error {
	return &paramError{param, "", fault.New("openai.request", fault.Invalid, format, args...)}
}

func unsupported(param, format string, args ...any) error {
	return &paramError{param, "unsupported_parameter", fault.New("openai.request", fault.Unsupported, format, args...)}
}

// wireError is the protocol's error.
type wireError struct {
	Message string  `json:"message"`
	Type    string  `json:"type"`
	Param   *string `json:"param"`
	Code    *string `json:"code"`
}

// describe puts an error into the protocol's form.
func describe(err error, requestID string) (int, wireError) {
	status := reply.StatusOf(err)
	message, remedy := reply.Text(err, requestID)
	if remedy != "" {
		message += " (" + remedy + ")"
	}
	e := wireError{Message: message, Type: "invalid_request_error"}
	code := ""
	switch status {
	case http.StatusUnauthorized:
		code = "invalid_api_key"
	case http.StatusForbidden:
		e.Type = "permission_error"
	case http.StatusNotFound:
		if _, path := errors.AsType[*reply.HTTPError](err); !path {
			code = "model_not_found"
		}
	case http.StatusTooManyRequests:
		e.Type, code = "rate_limit_error", "rate_limit_exceeded"
	default:
		if status >= http.StatusInternalServerError {
			e.Type = "server_error"
		}
	}
	if p, ok := errors.AsType[*paramError](err); ok {
		status, code = http.StatusBadRequest, p.code
		if p.param != "" {
			e.Param = &p.param
		}
	}
	if code != "" {
		e.Code = &code
	}
	return status, e
}

// WriteError answers with the protocol's error.
func WriteError(w http.ResponseWriter, requestID string, err error) {
	status, e := describe(err, requestID)
	reply.Headers(w.Header(), status)
	if status == http.StatusTooManyRequests {
		w.Header().Set("Retry-After-Ms", "250")
	}
	b, _ := json.Marshal(map[string]wireError{"error": e}) // strings alone: it cannot fail
	h := w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("Content-Length", strconv.Itoa(len(b)))
	w.WriteHeader(status)
	_, _ = w.Write(b) // the client has gone, if this fails
}

// send answers with JSON.
func send(w http.ResponseWriter, v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return fault.Wrap(err, "openai.send", fault.Internal, "the answer cannot be written")
	}
	h := w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("Content-Length", strconv.Itoa(len(b)))
	w.WriteHeader(http.StatusOK)
	_, err = w.Write(b)
	return fault.From(err, "openai.send")
}

// invalidJSON says what is wrong with the JSON of a parameter; param is empty for the body.
func invalidJSON(param string, text []byte, err error) error {
	return &paramError{param, "", fault.Wrap(fault.JSON(param, text, err), "openai.request", fault.Invalid, "")}
}

// wrongType says that a parameter has another type than it should.
func wrongType(name, want string, value []byte) error {
	return invalid(name, "parameter %q is %s, expected %s", name, fmt.Sprintf("%.60s", value), want)
}
