package admin

import (
	"net/http"

	"tandem/fault"
	"tandem/internal/registry"
	"tandem/internal/serve"
	"tandem/internal/tenant"
	"tandem/model"
)

// deployment is what was recorded, and how the engine stands to it.
type deployment struct {
	registry.Deployment
	State          serve.State `json:"state"`
	QueuedRequests int         `json:"queued_requests"`
	QueuedRows     int         `json:"queued_rows"`
	MemoryBytes    int64       `json:"memory_bytes"`
	Language       bool        `json:"language,omitempty"` // it generates text, by /v1
	Failure        string      `json:"failure,omitempty"`
}

// stateAbsent is the state of a deployment that the engine has not heard of.
const stateAbsent serve.State = "absent"

func (s *Service) withState(t tenant.ID, all []registry.Deployment) []deployment {
	byTarget := map[serve.Target]serve.Status{}
	for _, st := range s.engine.Statuses() {
		byTarget[st.Target] = st
	}
	out := make([]deployment, len(all))
	for i, d := range all {
		out[i] = deployment{Deployment: d, State: stateAbsent}
		if st, ok := byTarget[serve.Target{Tenant: t, Model: d.Model, Version: d.Version}]; ok {
			out[i].State, out[i].MemoryBytes, out[i].Language = st.State, st.MemoryBytes, st.Language
			out[i].QueuedRequests, out[i].QueuedRows = st.QueuedRequests, st.QueuedRows
			if st.Failure != nil {
				out[i].Failure = fault.From(st.Failure, "").(*fault.Error).Message()
			}
		}
	}
	return out
}

// Deploy loads a version and lets it serve; it answers when it does, or with the
// reason why it cannot. Without a version it deploys the newest.
func (s *Service) Deploy(w http.ResponseWriter, r *http.Request, p tenant.Principal) error {
	var q struct {
		Model   string `json:"model"`
		Version int    `json:"version"`
	}
	if err := decode(r, &q); err != nil {
		return err
	}
	if q.Model == "" {
		return invalid("field %q is missing", "model")
	}
	if q.Version < 0 {
		return invalid("field %q is %d: expected a version, or 0 for the newest", "version", q.Version)
	}
	d, err := s.rollout.Deploy(r.Context(), p, q.Model, q.Version)
	if err != nil {
		return err
	}
	return send(w, http.StatusCreated, s.withState(p.Tenant, []registry.Deployment{d})[0])
}

// Rollback lets the version serve that served before.
func (s *Service) Rollback(w http.ResponseWriter, r *http.Request, p tenant.Principal) error {
	d, err := s.rollout.Rollback(r.Context(), p, r.PathValue("model"))
	if err != nil {
		return err
	}
	return send(w, http.StatusOK, s.withState(p.Tenant, []registry.Deployment{d})[0])
}

// Undeploy ends a deployment; admitted requests are answered.
func (s *Service) Undeploy(w http.ResponseWriter, r *http.Request, p tenant.Principal) error {
	if err := s.rollout.Undeploy(r.Context(), p, r.PathValue("model")); err != nil {
		return err
	}
	return sendNothing(w)
}

// Deployments lists what is deployed and how it does.
func (s *Service) Deployments(w http.ResponseWriter, r *http.Request, p tenant.Principal) error {
	all, err := s.registry.Deployments(r.Context(), p.Tenant)
	if err != nil {
		return err
	}
	return send(w, http.StatusOK, listOf(s.withState(p.Tenant, all)))
}

// Intake says what has to be known to ask the model that serves: see model.Intake.
func (s *Service) Intake(w http.ResponseWriter, r *http.Request, p tenant.Principal) error {
	if err := noQuery(r); err != nil {
		return err
	}
	d, err := s.engine.Describe(r.Context(), p.Tenant, r.PathValue("model"), 0)
	if err != nil {
		return err
	}
	v, err := s.registry.Version(r.Context(), p.Tenant, d.Model, d.Version)
	if err != nil {
		return err
	}
	m, err := s.registry.Manifest(r.Context(), p.Tenant, v)
	if err != nil {
		return err
	}
	in, err := model.IntakeOf(m, func(f model.File) (string, error) { return s.registry.BlobPath(f.Digest) })
	if err != nil {
		return err
	}
	return send(w, http.StatusOK, struct {
		Model   string `json:"model"`
		Version int    `json:"version"`
		*model.Intake
	}{d.Model, d.Version, in})
}
