package client

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"tandem/fault"
	"tandem/internal/blob"
	"tandem/model"
	"tandem/tensor"
)

func clientOf(t *testing.T, h http.HandlerFunc) *Client {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	c, err := New(Config{URL: s.URL + "/", Key: "td_k"})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// TestErrorsKeepKindMessageAndRemedy of both protocols.
func TestErrorsKeepKindMessageAndRemedy(t *testing.T) {
	for _, tc := range []struct {
		status  int
		body    string
		kind    fault.Kind
		message string
		remedy  string
	}{
		{409, `{"error":{"kind":"conflict","message":"it is deployed","remedy":"undeploy it"}}`, fault.Conflict, "it is deployed", "undeploy it"},
		{400, `{"error":{"kind":"unsupported","message":"no","remedy":""}}`, fault.Unsupported, "no", ""},
		{404, `{"error":"no model \"x\" is deployed (deploy it first)"}`, fault.NotFound, `no model "x" is deployed (deploy it first)`, ""},
		{503, `{"error":"still loading"}`, fault.Unavailable, "still loading", ""},
		{502, `<html>`, fault.Internal, "the server answered 502 Bad Gateway", ""},
		{429, ``, fault.Exhausted, "the server answered 429 Too Many Requests", ""},
		{418, `{"error":{"kind":"novel","message":"m"}}`, fault.Invalid, "m", ""},
	} {
		c := clientOf(t, func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(tc.status)
			_, _ = io.WriteString(w, tc.body)
		})
		_, err := c.Models(t.Context())
		e, ok := err.(*fault.Error)
		if !ok || e.Kind != tc.kind || e.Message() != tc.message || fault.RemedyOf(err) != tc.remedy {
			t.Errorf("%d %s: %#v", tc.status, tc.body, err)
		}
	}
}

func TestNoServer(t *testing.T) {
	s := httptest.NewServer(http.NotFoundHandler())
	s.Close()
	c, err := New(Config{URL: s.URL})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Keys(t.Context()); fault.KindOf(err) != fault.Unavailable || fault.RemedyOf(err) == "" {
		t.Errorf("no server: %v", err)
	}
	for _, url := range []string{"", "127.0.0.1:8080", "ftp://x", "http://"} {
		if _, err := New(Config{URL: url}); fault.KindOf(err) != fault.Invalid {
			t.Errorf("New(%q): %v", url, err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := c.Keys(ctx); fault.KindOf(err) != fault.Canceled {
		t.Errorf("canceled: %v", err)
	}
}

func TestInferSendsAndReadsBinaryTensors(t *testing.T) {
	c := clientOf(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/v2/models/a%2Fb/versions/2/infer" && r.URL.EscapedPath() != "/v2/models/a%2Fb/versions/2/infer" || r.Header.Get("Authorization") != "Bearer td_k" {
			t.Errorf("%s, Authorization %q", r.URL.EscapedPath(), r.Header.Get("Authorization"))
		}
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		n, err := strconv.Atoi(r.Header.Get(headerLength))
		if err != nil || int64(len(body)) != r.ContentLength {
			t.Error(err)
		}
		var q wireRequest
		if err := json.Unmarshal(body[:n], &q); err != nil || len(q.Inputs) != 2 || q.Inputs[1].Datatype != "UINT8" {
			t.Errorf("%v: %s", err, body[:n])
		}
		if string(body[n+8:]) != "\x07\x08" {
			t.Errorf("binary data % x", body[n:])
		}
		head := `{"outputs":[{"name":"y","datatype":"UINT8","shape":[2],"parameters":{"binary_data_size":2}},` +
			`{"name":"z","datatype":"INT64","shape":[1],"parameters":{"binary_data_size":8}}]}`
		w.Header().Set(headerLength, strconv.Itoa(len(head)))
		_, _ = io.WriteString(w, head+"\x01\x02\x05\x00\x00\x00\x00\x00\x00\x00")
	})
	out, err := c.Infer(t.Context(), "a/b", 2, []Named{
		{"x", tensor.Of([]float32{1, 2}, 2)}, {"w", tensor.Of([]uint8{7, 8}, 2)},
	})
	if err != nil || len(out) != 2 {
		t.Fatal(out, err)
	}
	if b := out[0].Tensor.Bytes(); b[0] != 1 || b[1] != 2 || out[1].Tensor.I64()[0] != 5 || out[1].Name != "z" {
		t.Errorf("%v %v", out[0], out[1])
	}
}

// TestOddAnswersAreErrors: lengths that lie, data that is missing.
func TestOddAnswersAreErrors(t *testing.T) {
	for _, tc := range []struct{ length, body string }{
		{"", "not JSON"},
		{"999", "{}"},
		{"-1", "{}"},
		{"x", "{}"},
		{"", `{"outputs":[{"name":"y","datatype":"FP32","shape":[1],"data":[1]}]}`},
		{"", `{"outputs":[{"name":"y","datatype":"FP32","shape":[1],"parameters":{"binary_data_size":4}}]}`},
		{"", `{"outputs":[{"name":"y","datatype":"FP32","shape":[-1],"parameters":{"binary_data_size":0}}]}`},
		{"", `{"outputs":[{"name":"y","datatype":"ODD","shape":[0],"parameters":{"binary_data_size":0}}]}`},
	} {
		if out, err := parseAnswer([]byte(tc.body), tc.length); err == nil {
			t.Errorf("length %q, %s: %v", tc.length, tc.body, out)
		}
	}
}

func FuzzParseAnswer(f *testing.F) {
	f.Add([]byte(`{"outputs":[{"name":"y","datatype":"UINT8","shape":[2],"parameters":{"binary_data_size":2}}]}ab`), "95")
	f.Fuzz(func(t *testing.T, b []byte, length string) {
		out, err := parseAnswer(b, length)
		for _, o := range out {
			if err == nil && len(o.Tensor.Bytes()) > len(b) {
				t.Errorf("%v of %d bytes", o, len(b))
			}
		}
	})
}

// TestPushSendsEachFileOnce, and only what the server lacks.
func TestPushSendsEachFileOnce(t *testing.T) {
	dir := t.TempDir()
	var files []model.File
	for name, text := range map[string]string{"a": "same", "b": "same", "c": "there", "d": ""} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		files = append(files, model.File{Name: name, Digest: blob.Sum([]byte(text)), Bytes: int64(len(text))})
	}
	sent := map[string]string{}
	c := clientOf(t, func(w http.ResponseWriter, r *http.Request) {
		digest := strings.TrimPrefix(r.URL.Path, "/api/v1/blobs/")
		switch {
		case r.Method == "HEAD" && digest != string(blob.Sum([]byte("there"))):
			w.WriteHeader(http.StatusNotFound)
		case r.Method == "PUT":
			body, err := io.ReadAll(r.Body)
			if _, twice := sent[digest]; err != nil || twice {
				t.Errorf("%s: %v, twice %v", digest, err, twice)
			}
			sent[digest] = string(body)
			w.WriteHeader(http.StatusCreated)
		case r.Method == "POST":
			_, _ = io.WriteString(w, `{"model":"m","number":7}`)
		}
	})
	v, err := c.Push(t.Context(), "m", &model.Manifest{Format: model.FormatVersion, Files: files}, model.DirSource(dir))
	if err != nil || v.Number != 7 {
		t.Fatal(v, err)
	}
	if len(sent) != 2 || sent[string(blob.Sum([]byte("same")))] != "same" {
		t.Errorf("sent %v", sent)
	}
}

// TestManifestMustBeTheOneNamed: another's bytes are refused.
func TestManifestMustBeTheOneNamed(t *testing.T) {
	c := clientOf(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "{}") })
	if _, err := c.Manifest(t.Context(), Version{Model: "m", Number: 1, Digest: blob.Sum([]byte("other"))}); fault.KindOf(err) != fault.Corrupt {
		t.Errorf("Manifest: %v", err)
	}
}
