package gateway

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"tandem/internal/tenant"
)

// TestBodyOfARefusedRequest: a client that is not let in and announces a body that never
// comes does not keep its connection.
func TestBodyOfARefusedRequest(t *testing.T) {
	w := newWorld(t, Config{})
	w.gateway.refusedBody = 50 * time.Millisecond
	w.listen(t)
	for _, head := range []string{
		"POST /v2/models/m/infer HTTP/1.1\r\nHost: h\r\nContent-Length: 1000\r\n\r\n",
		"POST /v2/models/m/infer HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n3e8\r\n",
		"POST /no/such/path HTTP/1.1\r\nHost: h\r\nContent-Length: 1000\r\n\r\n",
		"GET /v2/health/live HTTP/1.1\r\nHost: h\r\nContent-Length: 1000\r\n\r\n",
	} {
		c, err := net.Dial("tcp", strings.TrimPrefix(w.url, "http://"))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(c, head); err != nil {
			t.Fatal(err)
		}
		// It ends when the server closes; a server that waits for the body never does.
		_ = c.SetReadDeadline(time.Now().Add(20 * time.Second))
		if _, err := io.ReadAll(c); err != nil {
			t.Errorf("%.40q: %v", head, err)
		}
		_ = c.Close()
	}
	// A body that has come leaves the connection usable, beyond the time of the first.
	c, err := net.Dial("tcp", strings.TrimPrefix(w.url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	answers := bufio.NewReader(c)
	for range 2 {
		if _, err := io.WriteString(c, "POST /v2/models/m/infer HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\n{}"); err != nil {
			t.Fatal(err)
		}
		r, err := http.ReadResponse(answers, nil)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.Copy(io.Discard, r.Body); err != nil || r.StatusCode != http.StatusUnauthorized {
			t.Errorf("%d, %v", r.StatusCode, err)
		}
		time.Sleep(60 * time.Millisecond)
	}
}

// TestLabelsOfMetricsAreNotACallersChoice: models that are not there make no series,
// however a request for them is refused.
func TestLabelsOfMetricsAreNotACallersChoice(t *testing.T) {
	w := newWorld(t, Config{})
	w.listen(t)
	w.publish(t, w.owner, "real", "", "weights")
	w.do(t, w.owner, "POST", "/api/v1/deployments", `{"model":"real"}`).want(t, 201, "")
	p, err := w.tenants.Authenticate(t.Context(), w.owner)
	if err != nil {
		t.Fatal(err)
	}
	_, user, err := w.tenants.CreateKey(t.Context(), p, "u", tenant.RoleUser)
	if err != nil {
		t.Fatal(err)
	}
	for i, q := range []struct {
		key, method, path string
		status            int
	}{
		{user, "POST", "/api/v1/models/invented/versions", 403}, {user, "DELETE", "/api/v1/models/invented", 403},
		{w.owner, "POST", "/api/v1/models/invented/versions", 400}, {w.owner, "POST", "/v2/models/invented/infer", 404},
		{user, "POST", "/v2/models/real/infer", 400},
	} {
		w.do(t, q.key, q.method, q.path, fmt.Sprint(i)).want(t, q.status, "")
	}
	w.do(t, user, "POST", "/v2/models/invented/infer", strings.Repeat(" ", 1<<20+1)).want(t, 413, "")
	text := w.do(t, w.owner, "GET", "/metrics", nil).body
	if strings.Contains(text, "invented") || !strings.Contains(text, `model="real",route="/v2/models/{model}/infer",status="400"`) {
		t.Error(text)
	}
}

// TestRollbackToWhatCannotBeLoaded: the record stays that of what serves, at every
// moment: a crash would bring back what it says.
func TestRollbackToWhatCannotBeLoaded(t *testing.T) {
	w := newWorld(t, Config{})
	w.listen(t)
	p, err := w.tenants.Authenticate(t.Context(), w.owner)
	if err != nil {
		t.Fatal(err)
	}
	w.publish(t, w.owner, "m", "broken", "old")
	if _, err := w.deps.Registry.Deploy(t.Context(), p, "m", 1); err != nil { // it could be loaded then
		t.Fatal(err)
	}
	w.publish(t, w.owner, "m", "", "new")
	w.do(t, w.owner, "POST", "/api/v1/deployments", `{"model":"m"}`).want(t, 201, "")
	before := w.do(t, w.owner, "GET", "/api/v1/deployments", nil).want(t, 200, `"version":2`).body
	w.do(t, w.owner, "POST", "/api/v1/deployments/m/rollback", nil).want(t, 500, "damaged")
	if after := w.do(t, w.owner, "GET", "/api/v1/deployments", nil).body; after != before {
		t.Errorf("%s\nwas %s", after, before)
	}
}
