package reply

import (
	"errors"
	"fmt"
	"net/http"
	"strings"

	"tandem/fault"
)

// statusClientClosed is what the access log shows for a caller that went away; nginx
// uses the same number.
const statusClientClosed = 499

// retryAfterSeconds is how long a refused client should wait: queues drain in less.
const retryAfterSeconds = "1"

// Status maps every kind to an HTTP status.
//
// Unsupported is 400 and not 501: clients try a 5xx again, and it would not help.
func Status(k fault.Kind) int {
	switch k {
	case fault.Invalid, fault.Unsupported:
		return http.StatusBadRequest
	case fault.NotFound:
		return http.StatusNotFound
	case fault.Unauthenticated:
		return http.StatusUnauthorized
	case fault.Denied:
		return http.StatusForbidden
	case fault.Conflict:
		return http.StatusConflict
	case fault.TooLarge:
		return http.StatusRequestEntityTooLarge
	case fault.Exhausted:
		return http.StatusTooManyRequests
	case fault.Unavailable:
		return http.StatusServiceUnavailable
	case fault.Deadline:
		return http.StatusGatewayTimeout
	case fault.Canceled:
		return statusClientClosed
	case fault.NoSpace:
		return http.StatusInsufficientStorage
	case fault.Internal, fault.Corrupt:
		return http.StatusInternalServerError
	}
	return http.StatusInternalServerError
}

// HTTPError is an error that HTTP has a status for and package fault has no kind: a
// method that a route does not take, a media type.
type HTTPError struct {
	Status  int
	Message string
	Remedy  string
}

func (e *HTTPError) Error() string { return e.Message }

// StatusOf is the status of any error.
func StatusOf(err error) int {
	if e, ok := errors.AsType[*HTTPError](err); ok {
		return e.Status
	}
	return Status(fault.KindOf(err))
}

// Text is the message and remedy of an error as they may leave the server. Of an
// internal error only what Tandem itself says does: foreign causes may quote paths and
// other people's data, and the request's id leads to them in the log.
func Text(err error, requestID string) (message, remedy string) {
	if e, ok := errors.AsType[*HTTPError](err); ok {
		return e.Message, e.Remedy
	}
	e, ok := errors.AsType[*fault.Error](err)
	remedy = fault.RemedyOf(err)
	if kind := fault.KindOf(err); kind == fault.Internal || kind == fault.Corrupt {
		if remedy == "" {
			remedy = "the server's log has the cause, under request " + requestID
		}
		if message = ownWords(e); message == "" {
			message = kind.String() + " error"
		}
		return message, remedy
	}
	if !ok {
		return err.Error(), remedy
	}
	return e.Message(), remedy
}

// ownWords joins the messages of a chain of faults, up to the first foreign error.
func ownWords(e *fault.Error) string {
	if e == nil {
		return ""
	}
	var words []string
	for ok := true; ok; {
		if e.Format != "" {
			words = append(words, fmt.Sprintf(e.Format, e.Args...))
		}
		e, ok = e.Err.(*fault.Error)
	}
	return strings.Join(words, ": ")
}

// Headers sets what belongs to a status: when to try again, how to authenticate.
func Headers(h http.Header, status int) {
	switch status {
	case http.StatusTooManyRequests, http.StatusServiceUnavailable:
		h.Set("Retry-After", retryAfterSeconds)
	case http.StatusUnauthorized:
		h.Set("WWW-Authenticate", `Bearer realm="tandem"`)
	}
}
