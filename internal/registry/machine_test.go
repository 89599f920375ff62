//go:build !race

// Not under the race detector: all of it is one goroutine, and SQLite takes fifteen times
// as long there.

package registry

import (
	"database/sql"
	"fmt"
	"maps"
	"os"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"tandem/fault"
	"tandem/internal/blob"
	"tandem/internal/tenant"
)

// plain is the model that the registry is compared with: maps, and a list of the
// versions that served.
type plain struct {
	sent   map[string]bool // contents that GC has not removed
	held   map[string]bool // those of them that an upload holds
	models map[string]*plainModel
}

type plainModel struct {
	last     int
	versions map[int]string // the content of the version's one file, by number
	served   []int          // without neighbours that are equal; a rollback cuts it
	active   int
}

func (p *plain) has(content string) bool {
	for _, m := range p.models {
		if slices.Contains(slices.Collect(maps.Values(m.versions)), content) {
			return true
		}
	}
	return p.held[content]
}

// back cuts served down to the version that a rollback brings back.
func (m *plainModel) back() bool {
	for i := len(m.served) - 2; i >= 0; i-- {
		n := m.served[i]
		if _, there := m.versions[n]; there && n != m.active {
			m.served, m.active = m.served[:i+1], n
			return true
		}
	}
	return false
}

// fastDisk is a file system in memory where there is one: this test syncs often, and it
// is not about what outlives a crash.
func fastDisk() string {
	const shm = "/dev/shm"
	if info, err := os.Stat(shm); err == nil && info.IsDir() {
		return shm
	}
	return ""
}

// Random operations by two tenants give what the plain maps give.
func TestMachine(t *testing.T) {
	dir, err := os.MkdirTemp(fastDisk(), "registry")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	b, done := open(t, dir)
	defer func() { done() }()
	rapid.Check(t, func(t *rapid.T) {
		b.t = t
		empty(t, b)
		state := map[tenant.ID]*plain{}
		for _, id := range []tenant.ID{"alice", "bob"} {
			state[id] = &plain{sent: map[string]bool{}, held: map[string]bool{}, models: map[string]*plainModel{}}
		}
		var who tenant.Principal
		var name, content string
		var number int
		var p *plain
		var m *plainModel
		draw := func(t *rapid.T) {
			who = rapid.SampledFrom([]tenant.Principal{alice, bob}).Draw(t, "who")
			name = rapid.SampledFrom([]string{"m", "n"}).Draw(t, "name")
			content = rapid.SampledFrom([]string{"x", "y", "z"}).Draw(t, "content")
			number = rapid.IntRange(1, 4).Draw(t, "number")
			p = state[who.Tenant]
			m = p.models[name]
		}
		expect := func(t *rapid.T, err error, ok bool, kinds ...fault.Kind) {
			t.Helper()
			if ok != (err == nil) || !ok && !slices.Contains(kinds, fault.KindOf(err)) {
				t.Fatalf("got %v; want success %v, or %v", err, ok, kinds)
			}
		}
		t.Repeat(map[string]func(*rapid.T){
			"put": func(t *rapid.T) {
				draw(t)
				expect(t, b.put(who, content), true)
				p.sent[content], p.held[content] = true, true
			},
			"create": func(t *rapid.T) {
				draw(t)
				v, err := b.CreateVersion(ctx, who.Tenant, name, manifestOf(content))
				if m != nil {
					for n, c := range m.versions {
						if c == content {
							if err != nil || v.Number != n {
								t.Fatalf("again: %+v, %v; want %d", v, err, n)
							}
							return
						}
					}
				}
				if expect(t, err, p.sent[content], fault.Conflict); err != nil {
					return
				}
				if m == nil {
					m = &plainModel{versions: map[int]string{}}
					p.models[name] = m
				}
				m.last++
				if m.versions[m.last] = content; v.Number != m.last {
					t.Fatalf("number %d, want %d", v.Number, m.last)
				}
				delete(p.held, content)
			},
			"delete version": func(t *rapid.T) {
				draw(t)
				there := m != nil && m.versions[number] != ""
				expect(t, b.DeleteVersion(ctx, who.Tenant, name, number), there && m.active != number, fault.NotFound, fault.Conflict)
				if there && m.active != number {
					delete(m.versions, number)
				}
			},
			"delete model": func(t *rapid.T) {
				draw(t)
				expect(t, b.DeleteModel(ctx, who.Tenant, name), m != nil && m.active == 0, fault.NotFound, fault.Conflict)
				if m != nil && m.active == 0 {
					delete(p.models, name)
				}
			},
			"deploy": func(t *rapid.T) {
				draw(t)
				there := m != nil && m.versions[number] != ""
				_, err := b.Deploy(ctx, who, name, number)
				if expect(t, err, there, fault.NotFound); there {
					if m.active = number; len(m.served) == 0 || m.served[len(m.served)-1] != number {
						m.served = append(m.served, number)
					}
				}
			},
			"rollback": func(t *rapid.T) {
				draw(t)
				d, err := b.back(who, name)
				ok := m != nil && m.active != 0 && m.back()
				if expect(t, err, ok, fault.NotFound, fault.Conflict); ok && d.Version != m.active {
					t.Fatalf("rolled back to %d, want %d", d.Version, m.active)
				}
			},
			"undeploy": func(t *rapid.T) {
				draw(t)
				ok := m != nil && m.active != 0
				if expect(t, b.Undeploy(ctx, who, name), ok, fault.NotFound); ok {
					m.active = 0
				}
			},
			"gc": func(t *rapid.T) {
				if _, err := b.GC(ctx); err != nil {
					t.Fatal(err)
				}
				for _, p := range state {
					maps.DeleteFunc(p.sent, func(content string, _ bool) bool { return !p.has(content) })
				}
			},
			"a day": func(t *rapid.T) {
				b.pass(holdUpload)
				for _, p := range state {
					clear(p.held)
				}
			},
			"restart": func(t *rapid.T) {
				at := b.at
				done()
				b, done = open(t, dir) // on the same files
				b.at = at
			},
			"": func(t *rapid.T) { compare(t, b, state) },
		})
	})
}

// empty begins a check anew; opening another directory for each takes too long.
func empty(t *rapid.T, b *bench) {
	err := b.db.Write(ctx, func(tx *sql.Tx) error {
		_, err := tx.Exec(`DELETE FROM models; DELETE FROM blobs`)
		return err
	})
	if err == nil {
		_, err = b.GC(ctx)
	}
	if err != nil {
		t.Fatal(err)
	}
}

func compare(t *rapid.T, b *bench, state map[tenant.ID]*plain) {
	for id, p := range state {
		for _, content := range []string{"x", "y", "z"} {
			has, err := b.HasBlob(ctx, id, blob.Sum([]byte(content)))
			if err != nil || has != p.has(content) {
				t.Fatalf("%s has %s: %v, %v", id, content, has, err)
			}
		}
		models, err := b.Models(ctx, id)
		if err != nil || len(models) != len(p.models) {
			t.Fatalf("%s: %+v, %v; want %d", id, models, err, len(p.models))
		}
		for _, got := range models {
			m := p.models[got.Name]
			latest := 0
			for n, content := range m.versions {
				latest = max(latest, n)
				v, err := b.Version(ctx, id, got.Name, n)
				if err != nil || v.Digest != blob.Sum(manifestOf(content)) {
					t.Fatalf("%s %s:%d: %+v, %v", id, got.Name, n, v, err)
				}
				if _, err := b.ManifestBytes(ctx, id, v); err != nil {
					t.Fatal(err)
				}
				f, _, err := b.OpenBlob(ctx, id, blob.Sum([]byte(content)))
				if err != nil {
					t.Fatal(err)
				}
				f.Close()
			}
			want := Model{got.Name, len(m.versions), latest, m.active, got.CreatedAt}
			if got != want {
				t.Fatalf("%s: %s, want %s", id, fmt.Sprint(got), fmt.Sprint(want))
			}
		}
	}
}
