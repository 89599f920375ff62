package admin

import (
	"net/http"
	"time"

	"tandem/internal/registry"
	"tandem/internal/serve"
	"tandem/internal/tenant"
)

// Service answers the API's requests.
type Service struct {
	tenants      *tenant.Service
	registry     *registry.Registry
	rollout      *serve.Rollout
	engine       *serve.Engine
	maxBlobBytes int64
	now          func() time.Time
}

// New makes a service.
func New(tenants *tenant.Service, models *registry.Registry, rollout *serve.Rollout, engine *serve.Engine, maxBlobBytes int64, now func() time.Time) *Service {
	return &Service{tenants: tenants, registry: models, rollout: rollout, engine: engine, maxBlobBytes: maxBlobBytes, now: now}
}

// CreateKey makes a key; its secret is in this answer and nowhere else.
func (s *Service) CreateKey(w http.ResponseWriter, r *http.Request, p tenant.Principal) error {
	var q struct {
		Name string      `json:"name"`
		Role tenant.Role `json:"role"`
	}
	if err := decode(r, &q); err != nil {
		return err
	}
	key, secret, err := s.tenants.CreateKey(r.Context(), p, q.Name, q.Role)
	if err != nil {
		return err
	}
	return send(w, http.StatusCreated, struct {
		tenant.Key
		Secret string `json:"secret"`
	}{key, secret})
}

// Keys lists the tenant's keys.
func (s *Service) Keys(w http.ResponseWriter, r *http.Request, p tenant.Principal) error {
	keys, err := s.tenants.Keys(r.Context(), p)
	if err != nil {
		return err
	}
	return send(w, http.StatusOK, listOf(keys))
}

// RevokeKey ends a key.
func (s *Service) RevokeKey(w http.ResponseWriter, r *http.Request, p tenant.Principal) error {
	if err := s.tenants.RevokeKey(r.Context(), p, tenant.KeyID(r.PathValue("key"))); err != nil {
		return err
	}
	return sendNothing(w)
}

// usageDays is how far back usage goes when the request does not say.
const usageDays = 30

// Usage sums what was used, by day, key, model and version: of the whole tenant for an
// owner, of the key that asks for others. ?from and ?to are days in UTC, inclusive.
func (s *Service) Usage(w http.ResponseWriter, r *http.Request, p tenant.Principal) error {
	if err := noQuery(r, "from", "to"); err != nil {
		return err
	}
	to := s.now()
	from := to.AddDate(0, 0, -usageDays)
	for _, d := range []struct {
		name string
		dst  *time.Time
	}{{"from", &from}, {"to", &to}} {
		text := r.URL.Query().Get(d.name)
		if text == "" {
			continue
		}
		day, err := time.Parse(time.DateOnly, text)
		if err != nil {
			return invalid("query parameter %q is %.40q: expected a day such as 2026-01-31", d.name, text)
		}
		*d.dst = day
	}
	rows, err := s.tenants.UsageReport(r.Context(), p, from, to)
	if err != nil {
		return err
	}
	return send(w, http.StatusOK, listOf(rows))
}
