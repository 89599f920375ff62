package api

import (
	"net/http"
	"strings"
	"time"

	"tandem/internal/api/admin"
	"tandem/internal/api/oip"
	"tandem/internal/api/openai"
	"tandem/internal/registry"
	"tandem/internal/serve"
	"tandem/internal/tenant"
)

// Handler answers a request of p, or returns the error to answer with. It has written
// nothing when it returns an error, unless the connection itself failed.
type Handler func(w http.ResponseWriter, r *http.Request, p tenant.Principal) error

// Fail answers with an error in a protocol's own form.
type Fail func(w http.ResponseWriter, requestID string, err error)

// Route is one method and pattern of net/http's mux, and who may use it.
type Route struct {
	Method  string
	Pattern string
	Public  bool          // no key is asked for: health only
	Action  tenant.Action // what the key's role must allow
	Limits  Limits
	Handler Handler
	Fail    Fail
}

// Limits bound what one request may bring and take.
type Limits struct {
	BodyBytes int64         // over the wire; 0: no body
	Timeout   time.Duration // for the body to come, and for the answer to go
	Streams   bool          // the body goes on as it comes; others are kept in memory
}

// BodyLimits are the most bytes of a body, by what it is.
type BodyLimits struct {
	InferBytes    int64 // over the wire and expanded; default 64 MiB
	PromptBytes   int64 // of a request for text; default 16 MiB
	JSONBytes     int64 // of an administrative request; default 1 MiB
	ManifestBytes int64 // default registry.MaxManifestBytes
	BlobBytes     int64 // default 64 GiB
}

func (l BodyLimits) withDefaults() BodyLimits {
	for _, f := range []struct {
		v     *int64
		value int64
	}{{&l.InferBytes, 64 << 20}, {&l.PromptBytes, 16 << 20}, {&l.JSONBytes, 1 << 20}, {&l.ManifestBytes, registry.MaxManifestBytes}, {&l.BlobBytes, 64 << 30}} {
		if *f.v == 0 {
			*f.v = f.value
		}
	}
	return l
}

// Deps is what the routes are made of.
type Deps struct {
	Tenants  *tenant.Service
	Registry *registry.Registry
	Engine   *serve.Engine
	Rollout  *serve.Rollout
	Metrics  *Metrics
	Version  string       // of the program
	Bodies   BodyLimits   // zero fields take the defaults
	Ready    func() error // does the server take requests; the gateway adds that it drains
	Now      func() time.Time
}

// Routes is the whole server.
func Routes(d Deps) []Route {
	body := d.Bodies.withDefaults()
	v2 := oip.New(d.Engine, d.Ready, d.Version, body.InferBytes)
	v1 := openai.New(d.Engine, d.Now)
	adm := admin.New(d.Tenants, d.Registry, d.Rollout, d.Engine, body.BlobBytes, d.Now)
	var (
		none     = Limits{Timeout: time.Minute}
		tensors  = Limits{BodyBytes: body.InferBytes, Timeout: 2 * time.Minute}
		prompt   = Limits{BodyBytes: body.PromptBytes, Timeout: time.Hour}
		form     = Limits{BodyBytes: body.JSONBytes, Timeout: time.Minute}
		load     = Limits{BodyBytes: body.JSONBytes, Timeout: 15 * time.Minute}
		manifest = Limits{BodyBytes: body.ManifestBytes, Timeout: 5 * time.Minute}
		upload   = Limits{BodyBytes: body.BlobBytes, Timeout: 6 * time.Hour, Streams: true}
		download = Limits{Timeout: 6 * time.Hour}
	)
	const (
		get, post, put, del, head                = "GET", "POST", "PUT", "DELETE", "HEAD"
		infer, read, write, deploy, keys, counts = tenant.ActInfer, tenant.ActReadModels, tenant.ActWriteModels, tenant.ActDeploy, tenant.ActKeys, tenant.ActUsage
	)
	return []Route{
		{get, "/v2/health/live", true, 0, none, v2.Live, oip.WriteError},
		{get, "/v2/health/ready", true, 0, none, v2.Ready, oip.WriteError},
		{get, "/v2", false, infer, none, v2.Server, oip.WriteError},
		{get, "/v2/{$}", false, infer, none, v2.Server, oip.WriteError},
		{get, "/v2/models/{model}", false, infer, none, v2.Model, oip.WriteError},
		{get, "/v2/models/{model}/versions/{version}", false, infer, none, v2.Model, oip.WriteError},
		{get, "/v2/models/{model}/ready", false, infer, none, v2.ModelReady, oip.WriteError},
		{get, "/v2/models/{model}/versions/{version}/ready", false, infer, none, v2.ModelReady, oip.WriteError},
		{post, "/v2/models/{model}/infer", false, infer, tensors, v2.Infer, oip.WriteError},
		{post, "/v2/models/{model}/versions/{version}/infer", false, infer, tensors, v2.Infer, oip.WriteError},

		{get, "/v1/models", false, infer, none, v1.Models, openai.WriteError},
		{get, "/v1/models/{model}", false, infer, none, v1.Model, openai.WriteError},
		{post, "/v1/chat/completions", false, infer, prompt, v1.Chat, openai.WriteError},
		{post, "/v1/completions", false, infer, prompt, v1.Complete, openai.WriteError},

		{get, "/api/v1/whoami", false, infer, none, adm.Whoami, admin.WriteError},
		{get, "/api/v1/keys", false, keys, none, adm.Keys, admin.WriteError},
		{post, "/api/v1/keys", false, keys, form, adm.CreateKey, admin.WriteError},
		{del, "/api/v1/keys/{key}", false, keys, none, adm.RevokeKey, admin.WriteError},
		{get, "/api/v1/usage", false, counts, none, adm.Usage, admin.WriteError},

		{head, "/api/v1/blobs/{digest}", false, write, none, adm.HasBlob, admin.WriteError},
		{put, "/api/v1/blobs/{digest}", false, write, upload, adm.PutBlob, admin.WriteError},
		{get, "/api/v1/blobs/{digest}", false, read, download, adm.Blob, admin.WriteError},
		{get, "/api/v1/models", false, read, none, adm.Models, admin.WriteError},
		{get, "/api/v1/models/{model}", false, read, none, adm.Model, admin.WriteError},
		{del, "/api/v1/models/{model}", false, write, none, adm.DeleteModel, admin.WriteError},
		{get, "/api/v1/models/{model}/versions", false, read, none, adm.Versions, admin.WriteError},
		{post, "/api/v1/models/{model}/versions", false, write, manifest, adm.CreateVersion, admin.WriteError},
		{get, "/api/v1/models/{model}/versions/{version}", false, read, none, adm.Version, admin.WriteError},
		{del, "/api/v1/models/{model}/versions/{version}", false, write, none, adm.DeleteVersion, admin.WriteError},
		{get, "/api/v1/models/{model}/versions/{version}/manifest", false, read, none, adm.Manifest, admin.WriteError},

		{get, "/api/v1/deployments", false, read, none, adm.Deployments, admin.WriteError},
		{post, "/api/v1/deployments", false, deploy, load, adm.Deploy, admin.WriteError},
		{get, "/api/v1/deployments/{model}/intake", false, infer, none, adm.Intake, admin.WriteError},
		{del, "/api/v1/deployments/{model}", false, deploy, none, adm.Undeploy, admin.WriteError},
		{post, "/api/v1/deployments/{model}/rollback", false, deploy, load, adm.Rollback, admin.WriteError},

		{get, "/metrics", false, counts, none, d.Metrics.Serve, admin.WriteError},
	}
}

// FailFor is the form of errors for a path that no route has.
func FailFor(path string) Fail {
	if path == "/v2" || len(path) > 3 && path[:4] == "/v2/" {
		return oip.WriteError
	}
	if strings.HasPrefix(path, "/v1/") {
		return openai.WriteError
	}
	return admin.WriteError
}
