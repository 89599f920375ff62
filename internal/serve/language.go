package serve

import (
	"context"
	"slices"
	"strings"
	"sync"
	"time"

	"tandem/fault"
	"tandem/internal/tenant"
	"tandem/llm"
	"tandem/model"
	"tandem/tensor"
)

// language is a Runner of a model that generates text: it takes and gives no tensors.
// Requests reach the model by Engine.Language.
type language struct{ *llm.Model }

func (l language) Signature() model.Signature {
	text := []model.TensorSpec{{Name: "text", DType: tensor.String.String(), Shape: []int{-1}}}
	return model.Signature{Inputs: text, Outputs: text}
}

func (l language) Run(context.Context, []*tensor.Tensor) ([]*tensor.Tensor, error) {
	return nil, fault.New("serve.step", fault.Unsupported, "this model generates text, which is not asked for with tensors").
		Try("send the request to /v1/chat/completions or /v1/completions")
}

// LanguageCall asks for a model that generates text.
type LanguageCall struct {
	Tenant  tenant.ID
	Key     tenant.KeyID
	Model   string
	Version int // 0: the one that serves
}

// Lease holds a model that generates text, so that it stays open until Release. Requests
// of all leases share the model's steps; the queue is the model's own.
type Lease struct {
	*llm.Model
	Target Target
	Loaded time.Time

	engine *Engine
	key    tenant.KeyID
	start  time.Time
	once   sync.Once
	queue  *queue
}

// Language finds the model that would answer a call now. It waits a bounded time for
// one that is loading. A model that takes tensors is Unsupported.
func (e *Engine) Language(ctx context.Context, c LanguageCall) (*Lease, error) {
	for {
		d, err := e.find(ctx, Target{c.Tenant, c.Model, c.Version})
		if err != nil {
			return nil, err
		}
		if d.language == nil {
			return nil, fault.New("serve.language", fault.Unsupported, "model %q takes tensors and does not generate text", c.Model).
				Try("send the request to /v2/models/" + c.Model + "/infer")
		}
		if !d.queue.hold() {
			continue // replaced since find
		}
		return &Lease{Target: d.target, Model: d.language, Loaded: d.loaded, engine: e, key: c.Key, start: time.Now(), queue: d.queue}, nil
	}
}

// Languages lists a tenant's models that generate text and serve now, by name.
func (e *Engine) Languages(t tenant.ID) []Description {
	e.mu.RLock()
	defer e.mu.RUnlock()
	var list []Description
	for p, s := range e.slots {
		if p.tenant != t || s.serving == nil {
			continue
		}
		if d := s.serving; d.language != nil {
			list = append(list, d.description())
		}
	}
	slices.SortFunc(list, func(a, b Description) int { return strings.Compare(a.Model, b.Model) })
	return list
}

// Release gives the model back. Only the first call does something.
func (l *Lease) Release() { l.once.Do(l.queue.letGo) }

// Record enters what a request has used into the ledger: the tokens that were computed
// and delivered, also if err ended the answer.
func (l *Lease) Record(promptTokens, answerTokens int, err error) {
	if l.engine.config.Record == nil {
		return
	}
	u := tenant.Usage{
		Tenant: l.Target.Tenant, Key: l.key, Model: l.Target.Model, Version: l.Target.Version, Requests: 1, Rows: 1,
		PromptTokens: int64(promptTokens), AnswerTokens: int64(answerTokens), Compute: time.Since(l.start),
	}
	if err != nil {
		u.Errors, u.Rows = 1, 0
	}
	l.engine.config.Record(u)
}
