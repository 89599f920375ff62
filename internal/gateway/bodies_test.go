package gateway

import (
	"bytes"
	"compress/gzip"
	"strings"
	"testing"
)

// TestBodiesTogether: what the bodies of requests in flight have in memory is bounded over
// all of them, what they expand to included, and given back with their answers.
func TestBodiesTogether(t *testing.T) {
	w := newWorld(t, Config{MaxHeldBytes: 1 << 20})
	w.listen(t)
	w.publish(t, w.owner, "m", "", "one")
	w.do(t, w.owner, "POST", "/api/v1/deployments", `{"model":"m"}`).want(t, 201, "")
	const infer = "/v2/models/m/infer"
	spaces := strings.Repeat(" ", 600<<10)
	large := four + spaces
	var packed bytes.Buffer
	z := gzip.NewWriter(&packed)
	if _, err := z.Write([]byte(large)); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	send := func(status int, says string) {
		t.Helper()
		w.do(t, w.owner, "POST", infer, large).want(t, status, says)
		w.do(t, w.owner, "POST", infer, bytes.NewReader(packed.Bytes()), "Content-Encoding", "gzip").want(t, status, says)
	}
	send(200, `"data":[2,`)
	answered := make(chan struct{})
	go func() {
		defer close(answered)
		w.do(t, w.owner, "POST", infer, strings.Replace(four, "1,2,3,4", "15,2,3,4", 1)+spaces).want(t, 200, `"data":[30,`)
	}()
	until(t, func() bool { return w.held.Load() == 1 })
	send(429, "bodies of the requests in flight")
	w.do(t, w.owner, "POST", "/v1/completions", large).want(t, 429, "bodies of the requests in flight")
	w.do(t, w.owner, "POST", "/api/v1/keys", `{"name":"small","role":"user"}`).want(t, 201, "") // there is room for little
	close(w.gate)
	<-answered
	send(200, `"data":[2,`)
	until(t, func() bool { return w.gateway.bodies.Load() == 0 })
}
