package client

import (
	"context"
	"fmt"
	"net/url"
	"time"

	"tandem/fault"
	"tandem/internal/blob"
	"tandem/model"
)

// Key describes a key. The secret is there only when it has just been made.
type Key struct {
	ID         string    `json:"id"`
	Name       string    `json:"name"`
	Role       string    `json:"role"`
	Prefix     string    `json:"prefix"`
	CreatedAt  time.Time `json:"created_at"`
	LastUsedAt time.Time `json:"last_used_at,omitzero"`
	RevokedAt  time.Time `json:"revoked_at,omitzero"`
	Secret     string    `json:"secret,omitempty"`
}

// Usage is the sum of a day, in UTC, for one key and version of a model.
type Usage struct {
	Day      string `json:"day"`
	Key      string `json:"key"`
	Model    string `json:"model"`
	Version  int    `json:"version"`
	Requests int64  `json:"requests"`
	Errors   int64  `json:"errors"`
	Rows     int64  `json:"rows"`
	// PromptTokens and AnswerTokens are those of models that generate text.
	PromptTokens int64 `json:"prompt_tokens"`
	AnswerTokens int64 `json:"answer_tokens"`
	ComputeNs    int64 `json:"compute_ns"`
}

// Model is a name and what is there under it; version 0 is none.
type Model struct {
	Name      string    `json:"name"`
	Versions  int       `json:"versions"`
	Latest    int       `json:"latest"`
	Deployed  int       `json:"deployed"`
	CreatedAt time.Time `json:"created_at"`
}

// Version is an artifact under a number.
type Version struct {
	Model     string      `json:"model"`
	Number    int         `json:"number"`
	Digest    blob.Digest `json:"digest"`
	Bytes     int64       `json:"bytes"`
	CreatedAt time.Time   `json:"created_at"`
}

// Deployment is a version that serves, or should.
type Deployment struct {
	ID             int64     `json:"id"`
	Model          string    `json:"model"`
	Version        int       `json:"version"`
	CreatedAt      time.Time `json:"created_at"`
	CreatedBy      string    `json:"created_by"`
	State          string    `json:"state"`
	QueuedRequests int       `json:"queued_requests"`
	QueuedRows     int       `json:"queued_rows"`
	MemoryBytes    int64     `json:"memory_bytes"`
	Language       bool      `json:"language,omitempty"` // it generates text
	Failure        string    `json:"failure,omitempty"`
}

const api = "/api/v1"

func modelPath(name string) string { return api + "/models/" + url.PathEscape(name) }

func versionPath(name string, number int) string {
	return fmt.Sprintf("%s/versions/%d", modelPath(name), number)
}

// Keys lists the tenant's keys.
func (c *Client) Keys(ctx context.Context) ([]Key, error) {
	var l list[Key]
	err := c.callList(ctx, "client.keys", api+"/keys", &l)
	return l.Data, err
}

func (c *Client) callList(ctx context.Context, op, path string, l any) error {
	return c.call(ctx, op, "GET", path, nil, l)
}

// CreateKey makes a key; its Secret is shown this once.
func (c *Client) CreateKey(ctx context.Context, name, role string) (Key, error) {
	var k Key
	err := c.call(ctx, "client.createKey", "POST", api+"/keys", map[string]string{"name": name, "role": role}, &k)
	return k, err
}

// RevokeKey ends a key.
func (c *Client) RevokeKey(ctx context.Context, id string) error {
	return c.call(ctx, "client.revokeKey", "DELETE", api+"/keys/"+url.PathEscape(id), nil, nil)
}

// Usage sums what was used on the days from and to, both included; empty is the
// server's default.
func (c *Client) Usage(ctx context.Context, from, to string) ([]Usage, error) {
	q := url.Values{}
	for name, v := range map[string]string{"from": from, "to": to} {
		if v != "" {
			q.Set(name, v)
		}
	}
	path := api + "/usage"
	if len(q) > 0 {
		path += "?" + q.Encode()
	}
	var l list[Usage]
	err := c.callList(ctx, "client.usage", path, &l)
	return l.Data, err
}

// Models lists the tenant's models.
func (c *Client) Models(ctx context.Context) ([]Model, error) {
	var l list[Model]
	err := c.callList(ctx, "client.models", api+"/models", &l)
	return l.Data, err
}

// Model describes a model.
func (c *Client) Model(ctx context.Context, name string) (Model, error) {
	var m Model
	err := c.call(ctx, "client.model", "GET", modelPath(name), nil, &m)
	return m, err
}

// DeleteModel deletes a model with all of its versions.
func (c *Client) DeleteModel(ctx context.Context, name string) error {
	return c.call(ctx, "client.deleteModel", "DELETE", modelPath(name), nil, nil)
}

// Versions lists a model's versions, the newest first.
func (c *Client) Versions(ctx context.Context, name string) ([]Version, error) {
	var l list[Version]
	err := c.callList(ctx, "client.versions", modelPath(name)+"/versions", &l)
	return l.Data, err
}

// Version describes a version; number 0 is the newest.
func (c *Client) Version(ctx context.Context, name string, number int) (Version, error) {
	var v Version
	if number > 0 {
		err := c.call(ctx, "client.version", "GET", versionPath(name, number), nil, &v)
		return v, err
	}
	all, err := c.Versions(ctx, name)
	if err != nil {
		return v, err
	}
	if len(all) == 0 {
		return v, fault.New("client.version", fault.NotFound, "model %q has no version", name).Try("import or train one")
	}
	return all[0], nil
}

// DeleteVersion deletes a version.
func (c *Client) DeleteVersion(ctx context.Context, name string, number int) error {
	return c.call(ctx, "client.deleteVersion", "DELETE", versionPath(name, number), nil, nil)
}

// Deployments lists what is deployed.
func (c *Client) Deployments(ctx context.Context) ([]Deployment, error) {
	var l list[Deployment]
	err := c.callList(ctx, "client.deployments", api+"/deployments", &l)
	return l.Data, err
}

// Deploy lets a version serve; number 0 is the newest.
func (c *Client) Deploy(ctx context.Context, name string, number int) (Deployment, error) {
	var d Deployment
	err := c.call(ctx, "client.deploy", "POST", api+"/deployments", map[string]any{"model": name, "version": number}, &d)
	return d, err
}

// Rollback lets the version serve that served before.
func (c *Client) Rollback(ctx context.Context, name string) (Deployment, error) {
	var d Deployment
	err := c.call(ctx, "client.rollback", "POST", api+"/deployments/"+url.PathEscape(name)+"/rollback", nil, &d)
	return d, err
}

// Undeploy ends a deployment.
func (c *Client) Undeploy(ctx context.Context, name string) error {
	return c.call(ctx, "client.undeploy", "DELETE", api+"/deployments/"+url.PathEscape(name), nil, nil)
}

// Intake is what has to be known to ask the version that serves.
type Intake struct {
	Version int `json:"version"`
	model.Intake
}

// Intake describes what a deployed model takes. A version other than 0 must be the one
// that serves.
func (c *Client) Intake(ctx context.Context, name string, version int) (Intake, error) {
	const op = "client.intake"
	var in Intake
	err := c.call(ctx, op, "GET", api+"/deployments/"+url.PathEscape(name)+"/intake", nil, &in)
	if err == nil && version != 0 && version != in.Version {
		err = fault.New(op, fault.NotFound, "version %d of model %q is not deployed: version %d is", version, name, in.Version).
			Try("ask for the deployed version, or for none in particular")
	}
	return in, err
}
