package tenant

import (
	"context"
	"database/sql"
	"sync"
	"time"

	"tandem/fault"
	"tandem/internal/store"
)

const (
	flushEvery   = time.Second
	finalTimeout = 5 * time.Second // for the last flush, when Run's context has ended
	// maxPendingRows bounds the ledger in memory while the database cannot be written.
	maxPendingRows = 65_536
	dayFormat      = "2006-01-02"
)

// Usage is what a request, or several, did.
type Usage struct {
	Tenant   ID
	Key      KeyID
	Model    string
	Version  int
	Requests int64
	Errors   int64 // of the requests
	Rows     int64 // inputs, one for each row of a batch
	// PromptTokens and AnswerTokens are those of models that generate text.
	PromptTokens, AnswerTokens int64
	Compute                    time.Duration
}

// UsageRow is the sum of a day, in UTC, for one key and version of a model.
type UsageRow struct {
	Day      string `json:"day"` // 2006-01-02
	Key      KeyID  `json:"key"`
	Model    string `json:"model"` // empty, with version 0, if the ledger was full: see Record
	Version  int    `json:"version"`
	Requests int64  `json:"requests"`
	Errors   int64  `json:"errors"`
	Rows     int64  `json:"rows"`
	// PromptTokens and AnswerTokens are those of models that generate text.
	PromptTokens int64 `json:"prompt_tokens"`
	AnswerTokens int64 `json:"answer_tokens"`
	// ComputeNs is in nanoseconds.
	ComputeNs int64 `json:"compute_ns"`
}

// ledger sums usage in memory until the next flush.
type ledger struct {
	flushing sync.Mutex // one flush at a time
	mu       sync.Mutex
	pending  map[usageKey]usageSum
}

type usageKey struct {
	tenant  ID
	day     string
	key     KeyID
	model   string
	version int
}

type usageSum struct{ requests, errors, rows, promptTokens, answerTokens, computeNs int64 }

func (l *ledger) add(k usageKey, u usageSum) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.pending == nil {
		l.pending = map[usageKey]usageSum{}
	}
	if _, ok := l.pending[k]; !ok && len(l.pending) >= maxPendingRows {
		k.model, k.version = "", 0
	}
	sum := l.pending[k]
	sum.requests += u.requests
	sum.errors += u.errors
	sum.rows += u.rows
	sum.promptTokens += u.promptTokens
	sum.answerTokens += u.answerTokens
	sum.computeNs += u.computeNs
	l.pending[k] = sum
}

func (l *ledger) take() map[usageKey]usageSum {
	l.mu.Lock()
	defer l.mu.Unlock()
	taken := l.pending
	l.pending = nil
	return taken
}

// Record counts u on the day that it is now. It does not wait for the disk: Run writes
// the sums each second, so kill -9 or a power cut loses the counts of at most one second
// (and of the time that the database could not be written); a shutdown loses none.
//
// The sums that wait are limited: beyond the limit, those of one key are counted together
// under the empty model, rather than lost.
func (s *Service) Record(u Usage) {
	s.usage.add(usageKey{u.Tenant, s.now().UTC().Format(dayFormat), u.Key, u.Model, u.Version},
		usageSum{u.Requests, u.Errors, u.Rows, u.PromptTokens, u.AnswerTokens, int64(u.Compute)})
}

// Flush writes what has been recorded, and when keys were last used. What it fails to
// write is kept for the next time.
func (s *Service) Flush(ctx context.Context) error {
	s.usage.flushing.Lock()
	defer s.usage.flushing.Unlock()
	sums, used := s.usage.take(), s.usedKeys()
	if len(sums) == 0 && len(used) == 0 {
		return nil
	}
	err := s.db.Write(ctx, func(tx *sql.Tx) error {
		if err := writeUsage(ctx, tx, sums); err != nil {
			return err
		}
		return writeLastUsed(ctx, tx, used)
	})
	if err != nil {
		for k, sum := range sums {
			s.usage.add(k, sum)
		}
		return fault.From(err, "tenant.flush")
	}
	for k, seconds := range used {
		k.flushed.Store(seconds)
	}
	return nil
}

func writeUsage(ctx context.Context, tx *sql.Tx, sums map[usageKey]usageSum) error {
	if len(sums) == 0 {
		return nil
	}
	stmt, err := tx.PrepareContext(ctx, `INSERT INTO usage
		(tenant_id, day, key_id, model, version, requests, errors, rows, prompt_tokens, answer_tokens, compute_ns)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
		ON CONFLICT (tenant_id, day, key_id, model, version) DO UPDATE SET
			requests = requests + excluded.requests, errors = errors + excluded.errors,
			rows = rows + excluded.rows, prompt_tokens = prompt_tokens + excluded.prompt_tokens,
			answer_tokens = answer_tokens + excluded.answer_tokens, compute_ns = compute_ns + excluded.compute_ns`)
	if err != nil {
		return err
	}
	defer stmt.Close()
	for k, u := range sums {
		if _, err := stmt.ExecContext(ctx, k.tenant, k.day, k.key, k.model, k.version, u.requests, u.errors, u.rows, u.promptTokens, u.answerTokens, u.computeNs); err != nil {
			return err
		}
	}
	return nil
}

func writeLastUsed(ctx context.Context, tx *sql.Tx, used map[*liveKey]int64) error {
	for k, seconds := range used {
		_, err := tx.ExecContext(ctx, `UPDATE keys SET last_used_at = ? WHERE tenant_id = ? AND id = ?`,
			store.Micros(time.Unix(seconds, 0)), k.principal.Tenant, k.principal.Key)
		if err != nil {
			return err
		}
	}
	return nil
}

// usedKeys are the keys used since the database was told, and when.
func (s *Service) usedKeys() map[*liveKey]int64 {
	s.mu.RLock()
	defer s.mu.RUnlock()
	used := map[*liveKey]int64{}
	for _, k := range s.live {
		if seconds := k.lastUsed.Load(); seconds != k.flushed.Load() {
			used[k] = seconds
		}
	}
	return used
}

// Run flushes each second until ctx ends, and then once more. Its error is that of the
// last flush. report hears of the others, which are tried again; it may be nil.
func (s *Service) Run(ctx context.Context, report func(error)) error {
	tick := time.NewTicker(flushEvery)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			if err := s.Flush(ctx); err != nil && report != nil && ctx.Err() == nil {
				report(err)
			}
		case <-ctx.Done():
			last, cancel := context.WithTimeout(context.WithoutCancel(ctx), finalTimeout)
			defer cancel()
			return s.Flush(last)
		}
	}
}

// UsageReport gives the sums of the days from and to, both included, in UTC: an owner
// sees all keys of the tenant, a developer the key that asks. It includes what was
// recorded before the call.
func (s *Service) UsageReport(ctx context.Context, p Principal, from, to time.Time) ([]UsageRow, error) {
	const op = "tenant.usageReport"
	if err := p.Require(ActUsage, op); err != nil {
		return nil, err
	}
	if err := s.Flush(ctx); err != nil {
		return nil, fault.From(err, op)
	}
	report := []UsageRow{}
	err := s.db.Read(ctx, func(tx *sql.Tx) error {
		rows, err := tx.QueryContext(ctx, `SELECT day, key_id, model, version, requests, errors, rows,
			prompt_tokens, answer_tokens, compute_ns FROM usage
			WHERE tenant_id = ? AND day BETWEEN ? AND ? AND (? OR key_id = ?)
			ORDER BY day, key_id, model, version`,
			p.Tenant, from.UTC().Format(dayFormat), to.UTC().Format(dayFormat), p.Role == RoleOwner, p.Key)
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			var r UsageRow
			if err := rows.Scan(&r.Day, &r.Key, &r.Model, &r.Version, &r.Requests, &r.Errors, &r.Rows, &r.PromptTokens, &r.AnswerTokens, &r.ComputeNs); err != nil {
				return err
			}
			report = append(report, r)
		}
		return rows.Err()
	})
	if err != nil {
		return nil, fault.From(err, op)
	}
	return report, nil
}
