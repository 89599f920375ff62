package registry

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"tandem/fault"
	"tandem/internal/blob"
	"tandem/internal/store"
	"tandem/internal/tenant"
	"tandem/model"
)

var (
	ctx   = context.Background()
	start = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	alice = tenant.Principal{Tenant: "alice", Key: "key-a", Role: tenant.RoleDeveloper}
	bob   = tenant.Principal{Tenant: "bob", Key: "key-b", Role: tenant.RoleOwner}
)

// bench is a registry on real files with two tenants and a clock that tests move.
type bench struct {
	*Registry
	t  fataler
	mu sync.Mutex
	at time.Time
}

type fataler interface {
	Helper()
	Fatal(...any)
}

func open(t fataler, dir string) (*bench, func()) {
	t.Helper()
	db, err := store.Open(ctx, dir)
	if err != nil {
		t.Fatal(err)
	}
	blobs, err := blob.OpenDir(filepath.Join(dir, "blobs"))
	if err != nil {
		t.Fatal(err)
	}
	b := &bench{t: t, at: start}
	b.Registry = New(db, blobs, func() time.Time {
		b.mu.Lock()
		defer b.mu.Unlock()
		return b.at
	})
	err = db.Write(ctx, func(tx *sql.Tx) error {
		_, err := tx.Exec(`INSERT OR IGNORE INTO tenants VALUES ('alice', 'alice', 1), ('bob', 'bob', 1)`)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return b, func() { db.Close() }
}

func begin(t *testing.T) *bench {
	t.Helper()
	b, done := open(t, t.TempDir())
	t.Cleanup(done)
	return b
}

// back rolls back as a caller does: it asks for the version, loads it, and records it.
func (b *bench) back(p tenant.Principal, name string) (Deployment, error) {
	v, err := b.Previous(ctx, p, name)
	if err != nil {
		return Deployment{}, err
	}
	return b.Rollback(ctx, p, name, v.Number)
}

func (b *bench) pass(d time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.at = b.at.Add(d)
}

// manifestOf names the contents in their order.
func manifestOf(contents ...string) []byte {
	tensor := []model.TensorSpec{{Name: "x", DType: "float32", Shape: []int{-1}}}
	m := model.Manifest{
		Format: model.FormatVersion, Stages: []model.StageSpec{{Kind: "graph", File: "f00"}},
		Signature: model.Signature{Inputs: tensor, Outputs: tensor, Batch: true},
	}
	for i, c := range contents {
		m.Files = append(m.Files, model.File{Name: fmt.Sprintf("f%02d", i), Digest: blob.Sum([]byte(c)), Bytes: int64(len(c))})
	}
	return m.Encode()
}

func (b *bench) put(p tenant.Principal, content string) error {
	return b.PutBlob(ctx, p.Tenant, blob.Sum([]byte(content)), strings.NewReader(content), 1<<20)
}

// verify compares the bytes of a blob with its name.
func (b *bench) verify(d blob.Digest) error {
	f, err := b.blobs.Open(d)
	if err != nil {
		return err
	}
	defer f.Close()
	if got, _, err := blob.SumReader(f); err != nil || got != d {
		return fmt.Errorf("the bytes stored as %s have digest %s, %v", d, got, err)
	}
	return nil
}

// create sends the contents and makes a version of them.
func (b *bench) create(p tenant.Principal, name string, contents ...string) Version {
	b.t.Helper()
	for _, c := range contents {
		if err := b.put(p, c); err != nil {
			b.t.Fatal(err)
		}
	}
	v, err := b.CreateVersion(ctx, p.Tenant, name, manifestOf(contents...))
	if err != nil {
		b.t.Fatal(err)
	}
	return v
}

func (b *bench) deploy(p tenant.Principal, name string, number int) Deployment {
	b.t.Helper()
	d, err := b.Deploy(ctx, p, name, number)
	if err != nil {
		b.t.Fatal(err)
	}
	return d
}

func wantKind(t *testing.T, what string, err error, kind fault.Kind) {
	t.Helper()
	if err == nil || fault.KindOf(err) != kind {
		t.Errorf("%s: %v; want %v", what, err, kind)
	}
	if kind == fault.Conflict && fault.RemedyOf(err) == "" {
		t.Errorf("%s: no remedy: %v", what, err)
	}
}

func TestNames(t *testing.T) {
	for _, ok := range []string{"a", "0", "resnet-50", "a.b_c", strings.Repeat("x", 63)} {
		if err := checkName(ok); err != nil {
			t.Error(err)
		}
	}
	b := begin(t)
	for _, bad := range []string{"", "A", "-a", ".", "..", "a/b", "a b", "é", "a\n", "a:1", strings.Repeat("x", 64)} {
		_, err := b.CreateVersion(ctx, "alice", bad, manifestOf("x"))
		wantKind(t, bad, err, fault.Invalid)
		if !strings.Contains(fault.RemedyOf(err), "a-z") {
			t.Errorf("%q: the rule is not named: %v", bad, err)
		}
	}
}

func TestVersions(t *testing.T) {
	b := begin(t)
	v1 := b.create(alice, "m", "weights", "labels")
	if want := (Version{"m", 1, blob.Sum(manifestOf("weights", "labels")), 13, start}); v1 != want {
		t.Errorf("got %+v, want %+v", v1, want)
	}
	if again := b.create(alice, "m", "weights", "labels"); again != v1 {
		t.Errorf("the same manifest again: %+v", again)
	}
	if other := b.create(alice, "other", "weights", "labels"); other.Number != 1 || other.Digest != v1.Digest {
		t.Errorf("the same manifest in another model: %+v", other)
	}
	v2 := b.create(alice, "m", "weights", "weights") // two names for the same bytes
	if v2.Number != 2 || v2.Bytes != 14 {
		t.Errorf("second: %+v", v2)
	}
	all, err := b.Versions(ctx, "alice", "m")
	if err != nil || !slices.Equal(all, []Version{v2, v1}) {
		t.Errorf("Versions: %+v, %v", all, err)
	}
	for number, want := range map[int]Version{0: v2, 1: v1, 2: v2} {
		if got, err := b.Version(ctx, "alice", "m", number); got != want || err != nil {
			t.Errorf("Version %d: %+v, %v", number, got, err)
		}
	}
	for _, number := range []int{-1, 3} {
		_, err := b.Version(ctx, "alice", "m", number)
		wantKind(t, "Version", err, fault.NotFound)
	}
	back, err := b.ManifestBytes(ctx, "alice", v1)
	if err != nil || !bytes.Equal(back, manifestOf("weights", "labels")) {
		t.Errorf("manifest %s, %v", back, err)
	}
	if m, err := b.Manifest(ctx, "alice", v1); err != nil || len(m.Files) != 2 {
		t.Errorf("manifest %+v, %v", m, err)
	}
	b.deploy(alice, "m", 1)
	models, err := b.Models(ctx, "alice")
	want := []Model{{"m", 2, 2, 1, start}, {"other", 1, 1, 0, start}}
	if err != nil || !slices.Equal(models, want) {
		t.Errorf("Models: %+v, %v", models, err)
	}
	if m, err := b.Model(ctx, "alice", "m"); err != nil || m != want[0] {
		t.Errorf("Model: %+v, %v", m, err)
	}
}

func TestCreateVersionRefuses(t *testing.T) {
	b := begin(t)
	if err := b.put(alice, "here"); err != nil {
		t.Fatal(err)
	}
	wrongSize := bytes.Replace(manifestOf("here"), []byte(`"bytes":4`), []byte(`"bytes":5`), 1)
	for _, tc := range []struct {
		name     string
		manifest []byte
		kind     fault.Kind
		says     string
	}{
		{"not JSON", []byte("{"), fault.Invalid, ""},
		{"empty", nil, fault.Invalid, ""},
		{"too large", make([]byte, MaxManifestBytes+1), fault.TooLarge, ""},
		{"not sent", manifestOf("here", "away"), fault.Conflict, string(blob.Sum([]byte("away")))},
		{"many not sent", manifestOf("1", "2", "3", "4", "5"), fault.Conflict, "5 of the 5"},
		{"other size", wrongSize, fault.Invalid, "4 bytes"},
	} {
		_, err := b.CreateVersion(ctx, "alice", "m", tc.manifest)
		wantKind(t, tc.name, err, tc.kind)
		if err != nil && !strings.Contains(err.Error(), tc.says) {
			t.Errorf("%s: %v does not say %q", tc.name, err, tc.says)
		}
	}
	if models, err := b.Models(ctx, "alice"); err != nil || len(models) != 0 {
		t.Errorf("left behind: %+v, %v", models, err)
	}
	_, err := b.CreateVersion(ctx, "nobody", "m", manifestOf("here"))
	wantKind(t, "unknown tenant", err, fault.Conflict)
}

func TestNumbersAreNotUsedAgain(t *testing.T) {
	b := begin(t)
	b.create(alice, "m", "1")
	b.create(alice, "m", "2")
	if err := b.DeleteVersion(ctx, "alice", "m", 2); err != nil {
		t.Fatal(err)
	}
	if v := b.create(alice, "m", "2"); v.Number != 3 {
		t.Errorf("number %d, want 3", v.Number)
	}
	wantKind(t, "0", b.DeleteVersion(ctx, "alice", "m", 0), fault.Invalid)
	wantKind(t, "2 again", b.DeleteVersion(ctx, "alice", "m", 2), fault.NotFound)
}

func TestWhatIsDeployedStays(t *testing.T) {
	b := begin(t)
	b.create(alice, "m", "1")
	b.create(alice, "m", "2")
	b.deploy(alice, "m", 1)
	wantKind(t, "DeleteVersion", b.DeleteVersion(ctx, "alice", "m", 1), fault.Conflict)
	wantKind(t, "DeleteModel", b.DeleteModel(ctx, "alice", "m"), fault.Conflict)
	if err := errors.Join(b.DeleteVersion(ctx, "alice", "m", 2), b.Undeploy(ctx, alice, "m"), b.DeleteModel(ctx, "alice", "m")); err != nil {
		t.Error(err)
	}
	_, err := b.Model(ctx, "alice", "m")
	wantKind(t, "Model", err, fault.NotFound)
	if v := b.create(alice, "m", "3"); v.Number != 1 {
		t.Errorf("a new model begins with %d", v.Number)
	}
	b.deploy(alice, "m", 1)
	_, err = b.back(alice, "m") // the history of the old model is not the new one's
	wantKind(t, "Rollback", err, fault.Conflict)
}

func TestDeployAndRollback(t *testing.T) {
	b := begin(t)
	for _, c := range []string{"1", "2", "3", "4"} {
		b.create(alice, "m", c)
	}
	_, err := b.back(alice, "m")
	wantKind(t, "Rollback of what is not deployed", err, fault.NotFound)
	wantKind(t, "Undeploy of what is not deployed", b.Undeploy(ctx, alice, "m"), fault.NotFound)
	_, err = b.Deployed(ctx, "alice", "m")
	wantKind(t, "Deployed", err, fault.NotFound)

	rollback := func(want int) {
		t.Helper()
		d, err := b.back(alice, "m")
		if err != nil || d.Version != want {
			t.Fatalf("Rollback = %+v, %v; want version %d", d, err, want)
		}
		if v, err := b.Deployed(ctx, "alice", "m"); err != nil || v.Number != want {
			t.Fatalf("Deployed = %+v, %v", v, err)
		}
	}
	for _, n := range []int{1, 2, 3} {
		b.pass(time.Minute)
		d := b.deploy(alice, "m", n)
		if want := (Deployment{Model: "m", Version: n, CreatedAt: b.at, CreatedBy: "key-a", ID: d.ID, previous: d.previous}); d != want {
			t.Errorf("got %+v, want %+v", d, want)
		}
		if again := b.deploy(alice, "m", n); again != d {
			t.Errorf("again: %+v, want %+v", again, d)
		}
	}
	if d := b.deploy(alice, "m", 0); d.Version != 4 {
		t.Errorf("the newest one: %+v", d)
	}
	rollback(3)
	rollback(2) // further back, not to 4 again
	if err := b.DeleteVersion(ctx, "alice", "m", 3); err != nil {
		t.Fatal(err)
	}
	b.deploy(alice, "m", 4)
	rollback(2)
	rollback(1)
	_, err = b.back(alice, "m")
	wantKind(t, "nothing left", err, fault.Conflict)

	b.deploy(alice, "m", 2)
	if err := b.Undeploy(ctx, alice, "m"); err != nil {
		t.Fatal(err)
	}
	b.deploy(alice, "m", 2)
	rollback(1)
	var history []Deployment
	err = b.db.Read(ctx, func(tx *sql.Tx) (err error) {
		history, err = list(ctx, tx, scanDeployment, selectDeployments+` AND d.model = ? ORDER BY d.id DESC`, "alice", "m")
		return err
	})
	if err != nil || len(history) != 12 || !history[0].EndedAt.IsZero() {
		t.Errorf("history of %d: %+v, %v", len(history), history, err)
	}
	for _, d := range history[1:] {
		if d.EndedAt.IsZero() {
			t.Errorf("two are active: %+v", d)
		}
	}
}

// TestRollbackToWhatWasGiven: what Previous gave may be deleted before it is recorded.
func TestRollbackToWhatWasGiven(t *testing.T) {
	b := begin(t)
	for n := range 3 {
		b.create(alice, "m", fmt.Sprint(n))
		b.deploy(alice, "m", n+1)
	}
	v, err := b.Previous(ctx, alice, "m")
	if err != nil || v.Number != 2 {
		t.Fatal(v, err)
	}
	if err := b.DeleteVersion(ctx, alice.Tenant, "m", 2); err != nil {
		t.Fatal(err)
	}
	_, err = b.Rollback(ctx, alice, "m", v.Number)
	wantKind(t, "Rollback", err, fault.Conflict)
	if d, err := b.Deployed(ctx, alice.Tenant, "m"); err != nil || d.Number != 3 {
		t.Errorf("%+v serves, %v", d, err)
	}
	user := tenant.Principal{Tenant: "alice", Key: "u", Role: tenant.RoleUser}
	_, err = b.Rollback(ctx, user, "m", 1)
	wantKind(t, "Rollback by a user", err, fault.Denied)
}

func TestWhoMayDeploy(t *testing.T) {
	b := begin(t)
	b.create(alice, "m", "1")
	b.deploy(alice, "m", 1)
	user := tenant.Principal{Tenant: "alice", Key: "u", Role: tenant.RoleUser}
	_, err := b.Deploy(ctx, user, "m", 1)
	wantKind(t, "Deploy", err, fault.Denied)
	_, err = b.back(user, "m")
	wantKind(t, "Rollback", err, fault.Denied)
	wantKind(t, "Undeploy", b.Undeploy(ctx, user, "m"), fault.Denied)
}

// Every method, asked by a tenant about what only the other one has, answers as if
// nobody had it, and changes nothing.
func TestTenantsDoNotSeeEachOther(t *testing.T) {
	b := begin(t)
	v := b.create(alice, "m", "secret")
	b.create(alice, "m", "second")
	b.deploy(alice, "m", 1)
	b.deploy(alice, "m", 2)
	other := blob.Sum([]byte("nobody has this"))

	ask := func(name string, d blob.Digest) []error {
		var errs []error
		add := func(err error) { errs = append(errs, err) }
		_, err := b.Model(ctx, "bob", name)
		add(err)
		_, err = b.Versions(ctx, "bob", name)
		add(err)
		_, err = b.Version(ctx, "bob", name, 1)
		add(err)
		_, err = b.Version(ctx, "bob", name, 0)
		add(err)
		_, err = b.ManifestBytes(ctx, "bob", Version{Model: name, Number: 1, Digest: d})
		add(err)
		_, err = b.Manifest(ctx, "bob", Version{Model: name, Number: 1, Digest: d})
		add(err)
		_, _, err = b.OpenBlob(ctx, "bob", d)
		add(err)
		_, err = b.Deploy(ctx, bob, name, 1)
		add(err)
		_, err = b.back(bob, name)
		add(err)
		_, err = b.Deployed(ctx, "bob", name)
		add(err)
		add(b.Undeploy(ctx, bob, name))
		add(b.DeleteVersion(ctx, "bob", name, 1))
		add(b.DeleteModel(ctx, "bob", name))
		return errs
	}
	for _, d := range []blob.Digest{v.Digest, blob.Sum([]byte("secret"))} {
		foreign, absent := ask("m", d), ask("nothing", other)
		for i := range foreign {
			wantKind(t, fmt.Sprint("method ", i), foreign[i], fault.NotFound)
			hide := strings.NewReplacer(string(d), "D", string(other), "D", `"m"`, "N", `"nothing"`, "N")
			if got, want := hide.Replace(fmt.Sprint(foreign[i])), hide.Replace(fmt.Sprint(absent[i])); got != want {
				t.Errorf("method %d tells them apart: %q, %q", i, got, want)
			}
		}
		if has, err := b.HasBlob(ctx, "bob", d); has || err != nil {
			t.Errorf("HasBlob = %v, %v", has, err)
		}
	}
	_, err := b.CreateVersion(ctx, "bob", "mine", manifestOf("secret"))
	wantKind(t, "naming another tenant's file", err, fault.Conflict)
	models, err1 := b.Models(ctx, "bob")
	deployments, err2 := b.Deployments(ctx, "bob")
	if err := errors.Join(err1, err2); err != nil || len(models)+len(deployments) != 0 {
		t.Errorf("lists: %v, %v, %v", models, deployments, err)
	}

	// The same names and bytes, sent by bob, are bob's own.
	b.create(bob, "m", "secret")
	b.deploy(bob, "m", 1)
	if err := errors.Join(b.Undeploy(ctx, bob, "m"), b.DeleteModel(ctx, "bob", "m")); err != nil {
		t.Fatal(err)
	}
	b.pass(2 * holdUpload)
	if _, err := b.GC(ctx); err != nil {
		t.Fatal(err)
	}
	if m, err := b.Model(ctx, "alice", "m"); err != nil || m.Versions != 2 || m.Deployed != 2 {
		t.Errorf("alice's model: %+v, %v", m, err)
	}
	if f, n, err := b.OpenBlob(ctx, "alice", blob.Sum([]byte("secret"))); err != nil || n != 6 {
		t.Errorf("alice's file: %d, %v", n, err)
	} else {
		f.Close()
	}
	placed, err := b.AllDeployed(ctx)
	if err != nil || len(placed) != 1 || placed[0].Tenant != "alice" || placed[0].Version.Number != 2 {
		t.Errorf("AllDeployed = %+v, %v", placed, err)
	}
}
