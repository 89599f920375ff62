package admin

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"mime"
	"net/http"
	"strconv"
	"strings"

	"tandem/fault"
	"tandem/internal/api/reply"
	"tandem/internal/tenant"
)

// decode reads a JSON object strictly: a field that dst does not have, or has in other
// capitals, is refused by name, and so is one that is given twice.
func decode(r *http.Request, dst any) error {
	if err := wantMedia(r, "application/json"); err != nil {
		return err
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return fault.From(err, "admin.decode")
	}
	if err := checkNames(body); err != nil {
		return err
	}
	d := json.NewDecoder(bytes.NewReader(body))
	d.DisallowUnknownFields()
	if err := d.Decode(dst); err != nil {
		return fault.JSON("", body, err)
	}
	if _, err := d.Token(); err != io.EOF {
		return invalid("there is more after the end of the JSON")
	}
	return nil
}

// checkNames refuses what encoding/json would let pass: names that are repeated, or
// that match a field only by ignoring case. Requests here are flat objects.
func checkNames(body []byte) error {
	d := json.NewDecoder(bytes.NewReader(body))
	seen := map[string]bool{}
	depth, name := 0, false
	for {
		token, err := d.Token()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return fault.JSON("", body, err)
		}
		if delim, ok := token.(json.Delim); ok {
			if delim == '{' || delim == '[' {
				depth++
			} else {
				depth--
			}
			if depth > 1 {
				return invalid("the request must be a flat JSON object")
			}
			name = delim == '{'
			continue
		}
		if text, ok := token.(string); ok && name && depth == 1 {
			if seen[text] {
				return invalid("field %q is given twice", text)
			}
			if text != strings.ToLower(text) {
				return invalid("unknown field %.100q", text)
			}
			seen[text] = true
			name = false
			continue
		}
		name = true
	}
}

func wantMedia(r *http.Request, want string) error {
	value := r.Header.Get("Content-Type")
	media, _, err := mime.ParseMediaType(value)
	if value == "" || err == nil && (media == want || media == "application/x-www-form-urlencoded") {
		return nil // no type, or curl's when it is told nothing
	}
	return &reply.HTTPError{Status: http.StatusUnsupportedMediaType,
		Message: "Content-Type " + strconv.Quote(value) + " is not supported", Remedy: "send " + want}
}

func invalid(format string, args ...any) error {
	return fault.New("admin.decode", fault.Invalid, format, args...)
}

// number reads a version in the path.
func number(r *http.Request) (int, error) {
	text := r.PathValue("version")
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 {
		return 0, fault.New("admin.version", fault.NotFound, "%.40q is not a version", text).Try("versions are 1, 2, …")
	}
	return n, nil
}

// noQuery refuses query parameters other than those named.
func noQuery(r *http.Request, allowed ...string) error {
	for name := range r.URL.Query() {
		known := false
		for _, a := range allowed {
			known = known || a == name
		}
		if !known {
			return invalid("unknown query parameter %.100q", name)
		}
	}
	return nil
}

// send answers with JSON.
func send(w http.ResponseWriter, status int, v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return fault.From(err, "admin.send")
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Content-Length", strconv.Itoa(len(b)))
	w.WriteHeader(status)
	_, err = w.Write(b)
	return fault.From(err, "admin.send")
}

func sendNothing(w http.ResponseWriter) error {
	w.WriteHeader(http.StatusNoContent)
	return nil
}

// list is the form of every list.
type list[T any] struct {
	Data []T `json:"data"`
}

func listOf[T any](items []T) list[T] {
	if items == nil {
		items = []T{}
	}
	return list[T]{items}
}

// WriteError answers with the API's error object.
func WriteError(w http.ResponseWriter, requestID string, err error) {
	var e struct {
		Error struct {
			Kind    string `json:"kind"`
			Message string `json:"message"`
			Remedy  string `json:"remedy"`
		} `json:"error"`
	}
	status := reply.StatusOf(err)
	e.Error.Kind = fault.KindOf(err).String()
	if _, ok := errors.AsType[*reply.HTTPError](err); ok {
		e.Error.Kind = fault.Invalid.String()
		if status == http.StatusNotFound {
			e.Error.Kind = fault.NotFound.String()
		}
	}
	e.Error.Message, e.Error.Remedy = reply.Text(err, requestID)
	reply.Headers(w.Header(), status)
	_ = send(w, status, e) // the client went away: there is no one left to tell
}

// Whoami says whose key this is.
func (s *Service) Whoami(w http.ResponseWriter, _ *http.Request, p tenant.Principal) error {
	return send(w, http.StatusOK, map[string]any{"tenant": p.Tenant, "key": p.Key, "role": p.Role})
}
