package main

import (
	"context"
	"errors"
	"path/filepath"
	"time"

	"tandem/fault"
	"tandem/internal/client"
	"tandem/internal/store"
	"tandem/internal/tenant"
)

// keysCmd is `tandem keys`.
type keysCmd struct {
	Create keysCreateCmd `cmd:"" help:"Make a key. Its secret is shown this once."`
	List   keysListCmd   `cmd:"" help:"List keys."`
	Revoke keysRevokeCmd `cmd:"" help:"End a key: from then on it is refused."`
}

type keysCreateCmd struct {
	Name string `help:"Whose key it is, or what for." placeholder:"NAME" required:""`
	Role string `help:"What it may do: owner (everything), developer (models and deployments) or user (run models)." placeholder:"ROLE" enum:"owner,developer,user" default:"user"`
	Data string `help:"Make it in the data directory of a server that does not run: for whoever has lost all keys." placeholder:"DIR"`
}

// Run makes a key on the server, or in the data directory.
func (c *keysCreateCmd) Run(ctx context.Context, a *app) error {
	key, err := c.create(ctx, a)
	if err != nil {
		return err
	}
	if a.json {
		return a.emit(key)
	}
	a.say("Key %s (%s, %s), shown this once:\n\n    %s\n", key.ID, key.Name, key.Role, key.Secret)
	a.say("Use it as TANDEM_KEY, --key, or Authorization: Bearer")
	return nil
}

func (c *keysCreateCmd) create(ctx context.Context, a *app) (client.Key, error) {
	if c.Data != "" {
		return createOffline(ctx, c.Data, c.Name, c.Role)
	}
	server, err := a.client()
	if err != nil {
		return client.Key{}, err
	}
	return server.CreateKey(ctx, c.Name, c.Role)
}

// createOffline is for the operator who holds the data directory: whoever can write it
// could make a key by hand.
func createOffline(ctx context.Context, data, name, role string) (_ client.Key, err error) {
	if !exists(filepath.Join(data, databaseFile)) { // Open would make one
		return client.Key{}, fault.New("tandem.keys", fault.NotFound, "%s is not the data directory of a server", data)
	}
	db, err := store.Open(ctx, data)
	if err != nil {
		return client.Key{}, err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	tenants := tenant.New(db, time.Now)
	owner, err := ownerOf(ctx, tenants)
	if err != nil {
		return client.Key{}, err
	}
	k, secret, err := tenants.CreateKey(ctx, owner, name, tenant.Role(role))
	return client.Key{ID: string(k.ID), Name: k.Name, Role: string(k.Role), Prefix: k.Prefix, CreatedAt: k.CreatedAt, Secret: secret}, err
}

// databaseFile is what the store has in a data directory.
const databaseFile = "tandem.db"

type keysListCmd struct{}

// Run lists the keys.
func (keysListCmd) Run(ctx context.Context, a *app) error {
	server, err := a.client()
	if err != nil {
		return err
	}
	keys, err := server.Keys(ctx)
	if err != nil {
		return err
	}
	return show(a, keys, []string{"ID", "NAME", "ROLE", "SECRET BEGINS", "LAST USED", "STATE"}, func(k client.Key) []string {
		state := a.msg.Sprintf("live")
		if !k.RevokedAt.IsZero() {
			state = a.msg.Sprintf("revoked")
		}
		return []string{k.ID, k.Name, k.Role, k.Prefix + "…", moment(k.LastUsedAt), state}
	})
}

type keysRevokeCmd struct {
	ID string `arg:"" help:"The key's ID, as tandem keys list shows it."`
}

// Run ends a key.
func (c *keysRevokeCmd) Run(ctx context.Context, a *app) error {
	server, err := a.client()
	if err != nil {
		return err
	}
	if err := server.RevokeKey(ctx, c.ID); err != nil {
		return err
	}
	if a.json {
		return a.emit(map[string]any{"id": c.ID, "revoked": true})
	}
	a.say("Key %s is revoked.", c.ID)
	return nil
}

// usageCmd is `tandem usage`.
type usageCmd struct {
	From string `help:"First day, in UTC, such as 2026-01-31. Without it: 30 days ago." placeholder:"DAY"`
	To   string `help:"Last day, in UTC. Without it: today." placeholder:"DAY"`
}

// Run shows what was used.
func (c *usageCmd) Run(ctx context.Context, a *app) error {
	for _, day := range []struct{ flag, value string }{{"--from", c.From}, {"--to", c.To}} {
		if _, err := time.Parse(time.DateOnly, day.value); err != nil && day.value != "" {
			return usage("%s is %q, which is no day", day.flag, day.value).with("write it as 2026-01-31")
		}
	}
	if c.From > c.To && c.To != "" {
		return usage("%s is after %s", "--from", "--to")
	}
	server, err := a.client()
	if err != nil {
		return err
	}
	rows, err := server.Usage(ctx, c.From, c.To)
	if err != nil {
		return err
	}
	titles := []string{"DAY", "KEY", "MODEL", "REQUESTS", "ERRORS", "ROWS", "PROMPT TOKENS", "ANSWER TOKENS", "COMPUTE"}
	return show(a, rows, titles, func(u client.Usage) []string {
		return []string{u.Day, u.Key, ref(u.Model, u.Version), a.msg.Count(int(u.Requests)), a.msg.Count(int(u.Errors)),
			a.msg.Count(int(u.Rows)), a.msg.Count(int(u.PromptTokens)), a.msg.Count(int(u.AnswerTokens)), time.Duration(u.ComputeNs).Round(time.Millisecond).String()}
	})
}
