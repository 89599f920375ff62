package main

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"tandem/internal/client"
)

// show prints items: as JSON one object a line, for people a table.
func show[T any](a *app, items []T, titles []string, row func(T) []string) error {
	if a.json {
		for _, item := range items {
			if err := a.emit(item); err != nil {
				return err
			}
		}
		return nil
	}
	if len(items) == 0 {
		a.say("There are none.")
		return nil
	}
	rows := make([][]string, len(items))
	for i, item := range items {
		rows[i] = row(item)
	}
	return a.table(titles, rows)
}

// moment prints a time for people, in their zone.
func moment(t time.Time) string {
	if t.IsZero() {
		return "–"
	}
	return t.Local().Format("2006-01-02 15:04:05")
}

func ref(name string, version int) string {
	if version == 0 {
		return name
	}
	return name + ":" + strconv.Itoa(version)
}

// size prints bytes for people.
func size(bytes int64) string {
	for _, u := range []struct {
		name string
		n    int64
	}{{"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10}} {
		if bytes >= u.n {
			return fmt.Sprintf("%.1f %s", float64(bytes)/float64(u.n), u.name)
		}
	}
	return fmt.Sprintf("%d B", bytes)
}

// modelsCmd is `tandem models`.
type modelsCmd struct {
	List   modelsListCmd   `cmd:"" help:"List models."`
	Show   modelsShowCmd   `cmd:"" help:"Show a model's versions, or one version."`
	Delete modelsDeleteCmd `cmd:"" help:"Delete a model, or one version of it."`
}

type modelsListCmd struct{}

// Run lists the models.
func (modelsListCmd) Run(ctx context.Context, a *app) error {
	server, err := a.client()
	if err != nil {
		return err
	}
	models, err := server.Models(ctx)
	if err != nil {
		return err
	}
	return show(a, models, []string{"NAME", "VERSIONS", "NEWEST", "DEPLOYED", "CREATED"}, func(m client.Model) []string {
		return []string{m.Name, strconv.Itoa(m.Versions), number(m.Latest), number(m.Deployed), moment(m.CreatedAt)}
	})
}

// number is a version for people, where 0 is none.
func number(n int) string {
	if n == 0 {
		return "–"
	}
	return strconv.Itoa(n)
}

type modelsShowCmd struct {
	Model string `arg:"" placeholder:"NAME[:VERSION]" help:"The model, or a version of it."`
}

// Run shows the versions of a model, or what one of them takes and gives.
func (c *modelsShowCmd) Run(ctx context.Context, a *app) error {
	r, err := parseRef(c.Model)
	if err != nil {
		return err
	}
	server, err := a.client()
	if err != nil {
		return err
	}
	if r.version > 0 {
		return showVersion(ctx, a, server, r)
	}
	versions, err := server.Versions(ctx, r.name)
	if err != nil {
		return err
	}
	return show(a, versions, []string{"MODEL", "SIZE", "CREATED", "DIGEST"}, func(v client.Version) []string {
		return []string{ref(v.Model, v.Number), size(v.Bytes), moment(v.CreatedAt), string(v.Digest)}
	})
}

func showVersion(ctx context.Context, a *app, server *client.Client, r modelRef) error {
	v, err := server.Version(ctx, r.name, r.version)
	if err != nil {
		return err
	}
	m, err := server.Manifest(ctx, v)
	if err != nil {
		return err
	}
	if a.json {
		return a.emit(struct {
			client.Version
			Manifest any `json:"manifest"`
		}{v, m})
	}
	a.say("%s, created %s, %s", ref(v.Model, v.Number), moment(v.CreatedAt), size(v.Bytes))
	a.say("Digest: %s", v.Digest)
	if m.Family != "" {
		a.say("Family: %s, task: %s", m.Family, m.Task)
	}
	for _, s := range m.Stages {
		a.say("Stage: %s (%s)", s.Kind, s.File)
	}
	for _, s := range m.Signature.Inputs {
		a.say("Input: %s %s%v", s.Name, s.DType, s.Shape)
	}
	for _, s := range m.Signature.Outputs {
		a.say("Output: %s %s%v", s.Name, s.DType, s.Shape)
	}
	for _, name := range sortedNames(m.Metrics) {
		a.say("Metric: %s %.4f", name, m.Metrics[name])
	}
	return nil
}

type modelsDeleteCmd struct {
	Model string `arg:"" placeholder:"NAME[:VERSION]" help:"The model, or a version of it."`
}

// Run deletes a model or a version, neither of which may be deployed.
func (c *modelsDeleteCmd) Run(ctx context.Context, a *app) error {
	r, err := parseRef(c.Model)
	if err != nil {
		return err
	}
	server, err := a.client()
	if err != nil {
		return err
	}
	if r.version > 0 {
		err = server.DeleteVersion(ctx, r.name, r.version)
	} else {
		err = server.DeleteModel(ctx, r.name)
	}
	if err != nil {
		return err
	}
	if a.json {
		return a.emit(map[string]any{"model": r.name, "version": r.version, "deleted": true})
	}
	a.say("%s is deleted.", c.Model)
	return nil
}

// deployCmd is `tandem deploy`.
type deployCmd struct {
	Model string `arg:"" placeholder:"NAME[:VERSION]" help:"The model. Without a version: its newest one."`
}

// Run deploys a version.
func (c *deployCmd) Run(ctx context.Context, a *app) error {
	r, err := parseRef(c.Model)
	if err != nil {
		return err
	}
	server, err := a.client()
	if err != nil {
		return err
	}
	d, err := server.Deploy(ctx, r.name, r.version)
	return a.deployed(server, d, err)
}

func (a *app) deployed(server *client.Client, d client.Deployment, err error) error {
	if err != nil {
		return err
	}
	if a.json {
		return a.emit(d)
	}
	at := server.URL() + "/v2/models/" + d.Model + "/infer"
	if d.Language {
		at = server.URL() + "/v1/chat/completions"
	}
	a.say("%s serves at %s", ref(d.Model, d.Version), at)
	return nil
}

// rollbackCmd is `tandem rollback`.
type rollbackCmd struct {
	Name string `arg:"" placeholder:"NAME" help:"The model."`
}

// Run brings back the version before.
func (c *rollbackCmd) Run(ctx context.Context, a *app) error {
	server, err := a.client()
	if err != nil {
		return err
	}
	d, err := server.Rollback(ctx, c.Name)
	return a.deployed(server, d, err)
}

// deploymentsCmd is `tandem deployments`.
type deploymentsCmd struct {
	List   deploymentsListCmd   `cmd:"" help:"List what serves."`
	Delete deploymentsDeleteCmd `cmd:"" help:"End a deployment. The model stays."`
}

type deploymentsListCmd struct{}

// Run lists the deployments.
func (deploymentsListCmd) Run(ctx context.Context, a *app) error {
	server, err := a.client()
	if err != nil {
		return err
	}
	all, err := server.Deployments(ctx)
	if err != nil {
		return err
	}
	titles := []string{"MODEL", "STATE", "MEMORY", "QUEUED REQUESTS", "SINCE", ""}
	return show(a, all, titles, func(d client.Deployment) []string {
		return []string{ref(d.Model, d.Version), a.msg.Text(d.State), size(d.MemoryBytes), strconv.Itoa(d.QueuedRequests),
			moment(d.CreatedAt), a.msg.Text(d.Failure)}
	})
}

type deploymentsDeleteCmd struct {
	Name string `arg:"" placeholder:"NAME" help:"The model."`
}

// Run ends a deployment.
func (c *deploymentsDeleteCmd) Run(ctx context.Context, a *app) error {
	server, err := a.client()
	if err != nil {
		return err
	}
	if err := server.Undeploy(ctx, c.Name); err != nil {
		return err
	}
	if a.json {
		return a.emit(map[string]any{"model": c.Name, "deployed": false})
	}
	a.say("%s no longer serves.", c.Name)
	return nil
}
