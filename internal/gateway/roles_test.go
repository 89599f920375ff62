package gateway

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"tandem/internal/api"
	"tandem/internal/blob"
	"tandem/internal/tenant"
	"tandem/model"
)

// TestWhatAUserMayDo: a key with role user runs models and learns what that takes: the routes
// are these and no others, and of a model it sees what its inputs are, nothing that training
// learned, and nothing of where it comes from.
func TestWhatAUserMayDo(t *testing.T) {
	w := newWorld(t, Config{})
	w.listen(t)
	var open []string
	for _, r := range api.Routes(w.deps) {
		if !r.Public && tenant.RoleUser.Allows(r.Action) {
			open = append(open, r.Method+" "+r.Pattern)
		}
	}
	want := []string{
		"GET /v2", "GET /v2/{$}", "GET /v2/models/{model}", "GET /v2/models/{model}/versions/{version}",
		"GET /v2/models/{model}/ready", "GET /v2/models/{model}/versions/{version}/ready",
		"POST /v2/models/{model}/infer", "POST /v2/models/{model}/versions/{version}/infer",
		"GET /v1/models", "GET /v1/models/{model}", "POST /v1/chat/completions", "POST /v1/completions",
		"GET /api/v1/whoami", "GET /api/v1/deployments/{model}/intake",
	}
	if !slices.Equal(open, want) {
		t.Errorf("a user may\n%q, want\n%q", open, want)
	}

	a := w.do(t, w.owner, "POST", "/api/v1/keys", map[string]string{"name": "k", "role": "user"}).want(t, 201, "")
	var user struct{ Secret string }
	if err := json.Unmarshal([]byte(a.body), &user); err != nil {
		t.Fatal(err)
	}
	files := map[string]string{
		"w.bin":      "weights",
		"rows.json":  `{"columns":[{"name":"age","kind":"float","mean":41.5,"std":9},{"name":"city","kind":"category","values":["secret town"]}],"missing":["-"]}`,
		"image.json": `{"height":2,"width":3,"channels":1,"scale":1,"resize":"crop"}`,
	}
	publish := func(name, kind, file string) {
		m := model.Manifest{
			Format: model.FormatVersion, Family: "tabular", Signature: doubler{}.Signature(), Labels: []string{"no", "yes"}, Metrics: map[string]float64{"accuracy": 0.5},
			Stages:  []model.StageSpec{{Kind: kind, File: file}, {Kind: "graph", File: "w.bin"}},
			Lineage: model.Lineage{Data: blob.Sum([]byte("data")), Seed: 7},
		}
		for _, f := range []string{"w.bin", file} {
			d := blob.Sum([]byte(files[f]))
			w.do(t, w.owner, "PUT", "/api/v1/blobs/"+string(d), files[f]).want(t, 201, "")
			m.Files = append(m.Files, model.File{Name: f, Digest: d, Bytes: int64(len(files[f]))})
		}
		slices.SortFunc(m.Files, func(a, b model.File) int { return strings.Compare(a.Name, b.Name) })
		w.do(t, w.owner, "POST", "/api/v1/models/"+name+"/versions", string(m.Encode())).want(t, 201, "")
	}
	publish("risk", "rows", "rows.json")
	publish("eye", "image", "image.json")
	w.do(t, user.Secret, "GET", "/api/v1/deployments/risk/intake", nil).want(t, 404, `no model \"risk\" is deployed`)
	for name, says := range map[string]string{
		"risk": `{"model":"risk","version":1,"kind":"rows","labels":["no","yes"],"rows":{"columns":[{"name":"age","kind":"float"},{"name":"city","kind":"category"}],"missing":["-"]}}`,
		"eye":  `{"model":"eye","version":1,"kind":"image","labels":["no","yes"],"image":{"height":2,"width":3,"channels":1,"scale":1,"resize":"crop"}}`,
	} {
		w.do(t, w.owner, "POST", "/api/v1/deployments", map[string]string{"model": name}).want(t, 201, "")
		if a := w.do(t, user.Secret, "GET", "/api/v1/deployments/"+name+"/intake", nil); a.status != 200 || a.body != says {
			t.Errorf("%d %s, want %s", a.status, a.body, says)
		}
		for _, path := range []string{"/models/" + name, "/models/" + name + "/versions/1", "/models/" + name + "/versions/1/manifest", "/deployments", "/blobs/" + string(blob.Sum([]byte(files["rows.json"])))} {
			w.do(t, user.Secret, "GET", "/api/v1"+path, nil).want(t, 403, `"kind":"denied"`)
		}
	}
	w.do(t, user.Secret, "GET", "/api/v1/deployments/risk/intake?version=1", nil).want(t, 400, "unknown query parameter")
	_, other, err := w.tenants.CreateTenant(t.Context(), "other")
	if err != nil {
		t.Fatal(err)
	}
	w.do(t, other, "GET", "/api/v1/deployments/risk/intake", nil).want(t, 404, "")
}
