package openai

import (
	"crypto/rand"
	"net/http"
	"strconv"
	"strings"
	"time"

	"tandem/fault"
	"tandem/internal/serve"
	"tandem/internal/tenant"
)

// Service answers the protocol's requests.
type Service struct {
	engine *serve.Engine
	now    func() time.Time
}

// New makes a service.
func New(engine *serve.Engine, now func() time.Time) *Service { return &Service{engine, now} }

// modelObject describes a model.
type modelObject struct {
	ID      string `json:"id"`
	Object  string `json:"object"`
	Created int64  `json:"created"`
	OwnedBy string `json:"owned_by"`
}

func describeModel(name string, loaded time.Time) modelObject {
	return modelObject{name, "model", loaded.Unix(), "tandem"}
}

// Models lists the models that serve and generate text.
func (s *Service) Models(w http.ResponseWriter, _ *http.Request, p tenant.Principal) error {
	list := struct {
		Object string        `json:"object"`
		Data   []modelObject `json:"data"`
	}{"list", []modelObject{}}
	for _, d := range s.engine.Languages(p.Tenant) {
		list.Data = append(list.Data, describeModel(d.Model, d.Loaded))
	}
	return send(w, list)
}

// Model describes one.
func (s *Service) Model(w http.ResponseWriter, r *http.Request, p tenant.Principal) error {
	lease, err := s.lease(r, p, r.PathValue("model"))
	if err != nil {
		return err
	}
	defer lease.Release()
	return send(w, describeModel(r.PathValue("model"), lease.Loaded))
}

// lease takes the model of a name, NAME or NAME:VERSION.
func (s *Service) lease(r *http.Request, p tenant.Principal, name string) (*serve.Lease, error) {
	c := serve.LanguageCall{Tenant: p.Tenant, Key: p.Key, Model: name}
	if before, number, found := strings.Cut(name, ":"); found {
		n, err := strconv.Atoi(number)
		if err != nil || n < 1 {
			return nil, fault.New("openai.model", fault.NotFound, "no model %.200q is deployed", name).Try("GET /v1/models lists those that are")
		}
		c.Model, c.Version = before, n
	}
	return s.engine.Language(r.Context(), c)
}

// id makes a name for an answer.
func id(prefix string) string { return prefix + strings.ToLower(rand.Text()) }
