package client

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"syscall"

	"tandem/fault"
)

// Limits of what is read of an answer, and of connections that are kept.
const (
	maxJSONBytes   = 64 << 20
	maxErrorBytes  = 64 << 10
	maxConnections = 64
)

const headerLength = "Inference-Header-Content-Length"

// Config says which server, and as whom.
type Config struct {
	URL string // http://127.0.0.1:8080
	Key string // empty: none is sent
	// Transport carries requests; nil is the network.
	Transport http.RoundTripper
}

// Client is safe for concurrent use.
type Client struct {
	base string
	key  string
	http *http.Client
}

// New makes a client. It does not connect yet.
func New(c Config) (*Client, error) {
	u, err := url.Parse(c.URL)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return nil, fault.New("client.new", fault.Invalid, "%q is not the URL of a server", c.URL).
			Try("give it as --server http://HOST:PORT")
	}
	if c.Transport == nil {
		t := http.DefaultTransport.(*http.Transport).Clone()
		t.MaxIdleConnsPerHost = maxConnections
		t.DisableCompression = true
		c.Transport = t
	}
	return &Client{base: strings.TrimRight(c.URL, "/"), key: c.Key, http: &http.Client{Transport: c.Transport}}, nil
}

// URL is the server's.
func (c *Client) URL() string { return c.base }

// do sends a request; the caller closes the body of the answer.
func (c *Client) do(ctx context.Context, op, method, path string, header http.Header, body io.Reader, bodyBytes int64) (*http.Response, error) {
	q, err := http.NewRequestWithContext(ctx, method, c.base+path, body)
	if err != nil {
		return nil, fault.From(err, op)
	}
	for name, values := range header {
		q.Header[name] = values
	}
	if body != nil && bodyBytes >= 0 {
		q.ContentLength = bodyBytes
	}
	if c.key != "" {
		q.Header.Set("Authorization", "Bearer "+c.key)
	}
	r, err := c.http.Do(q)
	if err != nil {
		return nil, c.unreachable(err, op)
	}
	if r.StatusCode < 300 {
		return r, nil
	}
	defer r.Body.Close()
	return nil, readError(r, op)
}

func (c *Client) unreachable(err error, op string) error {
	if e, ok := errors.AsType[*url.Error](err); ok {
		err = e.Err
	}
	_, dialing := errors.AsType[*net.OpError](err)
	switch {
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return fault.From(err, op)
	case errors.Is(err, syscall.ECONNREFUSED):
		return fault.New(op, fault.Unavailable, "no server answers at %s", c.base).Try("start one with tandem serve, or name another with --server")
	case dialing:
		return fault.Wrap(err, op, fault.Unavailable, "no server answers at %s", c.base).Try("start one with tandem serve, or name another with --server")
	}
	return fault.Wrap(err, op, fault.Unavailable, "the connection to %s failed", c.base)
}

// readError understands the errors of both protocols.
func readError(r *http.Response, op string) error {
	text, err := io.ReadAll(io.LimitReader(r.Body, maxErrorBytes))
	if err != nil {
		return fault.Wrap(err, op, kindOf(r.StatusCode), "the server answered %s", r.Status)
	}
	var form struct{ Error json.RawMessage }
	var detailed struct{ Kind, Message, Remedy string }
	if json.Unmarshal(text, &form) == nil {
		if json.Unmarshal(form.Error, &detailed.Message) == nil {
			return fault.New(op, kindOf(r.StatusCode), "%s", detailed.Message)
		}
		if json.Unmarshal(form.Error, &detailed) == nil && detailed.Message != "" {
			return fault.New(op, kindNamed(detailed.Kind, r.StatusCode), "%s", detailed.Message).Try(detailed.Remedy)
		}
	}
	e := fault.New(op, kindOf(r.StatusCode), "the server answered %s", r.Status)
	switch r.StatusCode { // of HEAD there is no body
	case http.StatusUnauthorized:
		return e.Try("give a key that is live by --key or TANDEM_KEY")
	case http.StatusForbidden:
		return e.Try("ask an owner for a key with a role that may")
	case http.StatusNotFound:
		return e.Try("check that the URL is that of a Tandem server")
	}
	return e
}

func kindNamed(name string, status int) fault.Kind {
	for _, k := range fault.Kinds() {
		if k.String() == name {
			return k
		}
	}
	return kindOf(status)
}

// kindOf is the kind that a status stands for where the answer does not name it.
func kindOf(status int) fault.Kind {
	switch status {
	case http.StatusUnauthorized:
		return fault.Unauthenticated
	case http.StatusForbidden:
		return fault.Denied
	case http.StatusNotFound:
		return fault.NotFound
	case http.StatusConflict:
		return fault.Conflict
	case http.StatusRequestEntityTooLarge:
		return fault.TooLarge
	case http.StatusTooManyRequests:
		return fault.Exhausted
	case http.StatusServiceUnavailable:
		return fault.Unavailable
	case http.StatusGatewayTimeout:
		return fault.Deadline
	case http.StatusInsufficientStorage:
		return fault.NoSpace
	}
	if status >= 400 && status < 500 {
		return fault.Invalid
	}
	return fault.Internal
}

// call sends in as JSON, if it is not nil, and decodes the answer into out likewise.
func (c *Client) call(ctx context.Context, op, method, path string, in, out any) error {
	if in == nil {
		return c.exchange(ctx, op, method, path, nil, nil, out)
	}
	text, err := json.Marshal(in)
	if err != nil {
		return fault.From(err, op)
	}
	return c.exchange(ctx, op, method, path, http.Header{"Content-Type": {"application/json"}}, text, out)
}

// exchange sends a body, if there is one, and decodes the answer into out, if that is
// not nil.
func (c *Client) exchange(ctx context.Context, op, method, path string, header http.Header, text []byte, out any) error {
	var body io.Reader
	if text != nil {
		body = bytes.NewReader(text)
	}
	r, err := c.do(ctx, op, method, path, header, body, int64(len(text)))
	if err != nil {
		return err
	}
	defer r.Body.Close()
	if out == nil {
		_, err := io.Copy(io.Discard, r.Body)
		return fault.From(err, op)
	}
	if err := json.NewDecoder(io.LimitReader(r.Body, maxJSONBytes)).Decode(out); err != nil {
		return fault.Wrap(err, op, fault.Unavailable, "the answer of %s is not understood", c.base).
			Try("check that the URL is that of a Tandem server")
	}
	return nil
}

// list is the form of every list.
type list[T any] struct {
	Data []T `json:"data"`
}
