package serve

import "tandem/internal/tenant"

// record settles an admitted request: what was counted is what its steps took, a
// step's time being shared by rows, whoever is still there to read the answer.
func (e *Engine) record(d *deployment, r *request) {
	if e.config.Record == nil {
		return
	}
	u := tenant.Usage{
		Tenant: r.call.Tenant, Key: r.call.Key, Model: d.target.Model, Version: d.target.Version,
		Requests: 1, Compute: r.compute,
	}
	if r.err != nil {
		u.Errors = 1
	} else {
		u.Rows = int64(r.total)
	}
	e.config.Record(u)
}
