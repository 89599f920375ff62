package tenant

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"tandem/fault"
	"tandem/internal/store"
)

var (
	ctx   = context.Background()
	start = time.Date(2026, 1, 31, 23, 59, 0, 0, time.UTC)
)

// clock is a time that a test moves.
type clock struct {
	mu sync.Mutex
	at time.Time
}

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.at
}

func (c *clock) add(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.at = c.at.Add(d)
}

func openStore(t testing.TB, dir string) *store.DB {
	t.Helper()
	db, err := store.Open(ctx, dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	return db
}

// begin makes a service with one tenant, and returns its owner and the owner's secret.
func begin(t testing.TB) (*Service, *clock, Principal, string) {
	t.Helper()
	c := &clock{at: start}
	s := New(openStore(t, t.TempDir()), c.now)
	secret, created, err := s.Bootstrap(ctx)
	if err != nil || !created {
		t.Fatal(created, err)
	}
	return s, c, authenticate(t, s, secret), secret
}

func authenticate(t testing.TB, s *Service, secret string) Principal {
	t.Helper()
	p, err := s.Authenticate(ctx, secret)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func wantKind(t *testing.T, what string, err error, kind fault.Kind) {
	t.Helper()
	if err == nil || fault.KindOf(err) != kind {
		t.Errorf("%s: %v; want %v", what, err, kind)
	}
}

func TestRoles(t *testing.T) {
	want := map[Role]string{RoleOwner: "111111", RoleDeveloper: "111101", RoleUser: "100000", "": "000000", "root": "000000"}
	for role, bits := range want {
		got := ""
		for a := range len(actionNames) + 1 {
			got += map[bool]string{true: "1", false: "0"}[role.Allows(Action(a))]
		}
		if got != bits+"0" {
			t.Errorf("%q: %s, want %s and 0 for an unknown action", role, got, bits)
		}
	}
}

func TestSecrets(t *testing.T) {
	seen := map[string]bool{}
	counts := map[rune]int{}
	for range 2000 {
		s := newSecret()
		prefix, ok := publicPart(s)
		if !ok || len(s) != 46 || !strings.HasPrefix(s, "td_") || prefix != s[:11] || seen[prefix] {
			t.Fatalf("secret %q, prefix %q, %v", s, prefix, ok)
		}
		seen[prefix] = true
		for _, r := range s[3:] {
			counts[r]++
		}
	}
	for _, r := range alphabet { // each about 1387 times; 7 standard deviations are 260
		if n := counts[r]; n < 1387-260 || n > 1387+260 {
			t.Errorf("%q drawn %d times", r, n)
		}
	}
}

func TestBootstrapOnce(t *testing.T) {
	dir := t.TempDir()
	db := openStore(t, dir)
	secret, created, err := New(db, time.Now).Bootstrap(ctx)
	if err != nil || !created {
		t.Fatal(created, err)
	}
	s := New(db, time.Now) // as after a restart
	if again, created, err := s.Bootstrap(ctx); err != nil || created || again != "" {
		t.Errorf("again: %q, %v, %v", again, created, err)
	}
	if p := authenticate(t, s, secret); p.Role != RoleOwner {
		t.Errorf("principal %+v", p)
	}
}

// TestDefaultHasNoKey: the first key is Bootstrap's, also of a tenant that is there.
func TestDefaultHasNoKey(t *testing.T) {
	s := New(openStore(t, t.TempDir()), time.Now)
	id, err := s.Default(ctx)
	if err != nil {
		t.Fatal(err)
	}
	secret, created, err := s.Bootstrap(ctx)
	if err != nil || !created {
		t.Fatal(created, err)
	}
	if p := authenticate(t, s, secret); p.Tenant != id || p.Role != RoleOwner {
		t.Errorf("principal %+v, tenant %v", p, id)
	}
}

func TestAuthenticate(t *testing.T) {
	s, _, owner, secret := begin(t)
	key, made, err := s.CreateKey(ctx, owner, "ci", RoleDeveloper)
	if err != nil {
		t.Fatal(err)
	}
	if p := authenticate(t, s, made); p != (Principal{owner.Tenant, key.ID, RoleDeveloper}) {
		t.Errorf("principal %+v", p)
	}
	flip := func(at int) string {
		b := []byte(made)
		b[at] = map[bool]byte{true: 'B', false: 'A'}[b[at] == 'A']
		return string(b)
	}
	texts := map[string]bool{}
	for _, bad := range []string{"", "td_", made[:45], made + "x", flip(4), flip(11), flip(45), "xx_" + made[3:],
		strings.ToUpper(made), made[:11], secret[:11] + made[11:], made + "\x00", " " + made} {
		p, err := s.Authenticate(ctx, bad)
		wantKind(t, fmt.Sprintf("%q", bad), err, fault.Unauthenticated)
		if p != (Principal{}) {
			t.Errorf("%q gave %+v", bad, p)
		}
		if strings.Contains(err.Error(), made[11:]) {
			t.Error("the error shows the secret")
		}
		texts[err.Error()] = true
	}
	if len(texts) != 1 {
		t.Errorf("failures can be told apart: %v", texts)
	}
}

func TestNoSecretIsStored(t *testing.T) {
	s, _, owner, _ := begin(t)
	key, secret, err := s.CreateKey(ctx, owner, "ci", RoleUser)
	if err != nil {
		t.Fatal(err)
	}
	out, err := json.Marshal(key)
	if err != nil || strings.Contains(string(out), secret[prefixLength:]) || !strings.Contains(string(out), `"created_at":"2026-01-31T23:59:00Z"`) ||
		strings.Contains(string(out), "revoked_at") {
		t.Errorf("JSON %s, %v", out, err)
	}
	var dump string
	if err := s.db.Read(ctx, func(tx *sql.Tx) error {
		return tx.QueryRow(`SELECT group_concat(id || name || prefix || hex(hash) || quote(hash)) FROM keys`).Scan(&dump)
	}); err != nil || strings.Contains(dump, secret[prefixLength:]) || !strings.Contains(dump, secret[:prefixLength]) {
		t.Errorf("stored %q, %v", dump, err)
	}
}

func TestRevokeTakesEffectAtOnceAndForEver(t *testing.T) {
	s, c, owner, ownerSecret := begin(t)
	key, secret, err := s.CreateKey(ctx, owner, "ci", RoleDeveloper)
	if err != nil {
		t.Fatal(err)
	}
	c.add(time.Minute)
	for range 2 { // the second time changes nothing
		if err := s.RevokeKey(ctx, owner, key.ID); err != nil {
			t.Fatal(err)
		}
		_, err = s.Authenticate(ctx, secret)
		wantKind(t, "revoked key", err, fault.Unauthenticated)
		c.add(time.Minute)
	}
	_, err = New(s.db, c.now).Authenticate(ctx, secret)
	wantKind(t, "revoked key after a restart", err, fault.Unauthenticated)
	authenticate(t, s, ownerSecret)
	keys, err := s.Keys(ctx, owner)
	if err != nil || len(keys) != 2 || !keys[1].RevokedAt.Equal(start.Add(time.Minute)) || !keys[0].RevokedAt.IsZero() {
		t.Errorf("keys %+v, %v", keys, err)
	}
	wantKind(t, "unknown key", s.RevokeKey(ctx, owner, "nobody"), fault.NotFound)
}

func TestTheLastOwnerKeyStays(t *testing.T) {
	s, _, owner, secret := begin(t)
	if _, _, err := s.CreateKey(ctx, owner, "dev", RoleDeveloper); err != nil {
		t.Fatal(err)
	}
	if _, _, err := s.CreateTenant(ctx, "other"); err != nil { // its owner key does not count
		t.Fatal(err)
	}
	err := s.RevokeKey(ctx, owner, owner.Key)
	wantKind(t, "last owner key", err, fault.Conflict)
	if fault.RemedyOf(err) == "" {
		t.Error("no remedy")
	}
	authenticate(t, s, secret)
	second, _, err := s.CreateKey(ctx, owner, "second", RoleOwner)
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup // both at once: one must stay
	for _, id := range []KeyID{owner.Key, second.ID} {
		wg.Go(func() { _ = s.RevokeKey(ctx, owner, id) })
	}
	wg.Wait()
	keys, err := s.Keys(ctx, owner)
	live := 0
	for _, k := range keys {
		if k.Role == RoleOwner && k.RevokedAt.IsZero() {
			live++
		}
	}
	if err != nil || live != 1 {
		t.Errorf("%d live owner keys, %v", live, err)
	}
}

func TestWhoMayManageKeys(t *testing.T) {
	s, _, owner, _ := begin(t)
	for _, role := range []Role{RoleDeveloper, RoleUser, "", "root"} {
		p := Principal{owner.Tenant, "k", role}
		_, err := s.Keys(ctx, p)
		wantKind(t, "Keys", err, fault.Denied)
		_, _, err = s.CreateKey(ctx, p, "x", RoleUser)
		wantKind(t, "CreateKey", err, fault.Denied)
		wantKind(t, "RevokeKey", s.RevokeKey(ctx, p, owner.Key), fault.Denied)
	}
	for _, bad := range []string{"", " a", "a\nb", strings.Repeat("x", 101), "\xff"} {
		_, _, err := s.CreateKey(ctx, owner, bad, RoleUser)
		wantKind(t, "name", err, fault.Invalid)
	}
	_, _, err := s.CreateKey(ctx, owner, "x", "root")
	wantKind(t, "role", err, fault.Invalid)
}

func TestTenantsDoNotSeeEachOther(t *testing.T) {
	s, _, a, _ := begin(t)
	id, secret, err := s.CreateTenant(ctx, "b")
	if err != nil {
		t.Fatal(err)
	}
	b := authenticate(t, s, secret)
	if b.Tenant != id || b.Tenant == a.Tenant || b.Role != RoleOwner {
		t.Fatalf("principal %+v", b)
	}
	s.Record(Usage{Tenant: a.Tenant, Key: a.Key, Model: "m", Version: 1, Requests: 1})
	foreign := s.RevokeKey(ctx, b, a.Key)
	wantKind(t, "foreign key", foreign, fault.NotFound)
	if got, want := strings.ReplaceAll(foreign.Error(), string(a.Key), "ID"),
		strings.ReplaceAll(s.RevokeKey(ctx, b, "nobody").Error(), "nobody", "ID"); got != want {
		t.Errorf("a foreign key reads %q, no key %q", got, want)
	}
	keys, err := s.Keys(ctx, b)
	if err != nil || len(keys) != 1 || keys[0].ID != b.Key {
		t.Errorf("keys %+v, %v", keys, err)
	}
	report, err := s.UsageReport(ctx, b, start, start.AddDate(0, 0, 2))
	if err != nil || len(report) != 0 {
		t.Errorf("usage %+v, %v", report, err)
	}
	_, _, err = s.CreateTenant(ctx, "b")
	wantKind(t, "same name", err, fault.Conflict)
}

func TestUsage(t *testing.T) {
	s, c, owner, _ := begin(t)
	dev, _, err := s.CreateKey(ctx, owner, "dev", RoleDeveloper)
	if err != nil {
		t.Fatal(err)
	}
	u := Usage{Tenant: owner.Tenant, Key: owner.Key, Model: "m", Version: 1, Requests: 2, Errors: 1, Rows: 5, Compute: time.Millisecond}
	s.Record(u)
	if err := s.Flush(ctx); err != nil {
		t.Fatal(err)
	}
	s.Record(u)
	c.add(time.Minute) // the next day
	s.Record(Usage{Tenant: owner.Tenant, Key: dev.ID, Model: "n", Version: 3, Requests: 1, PromptTokens: 7, AnswerTokens: 9})
	first := UsageRow{"2026-01-31", owner.Key, "m", 1, 4, 2, 10, 0, 0, 2_000_000}
	second := UsageRow{"2026-02-01", dev.ID, "n", 3, 1, 0, 0, 7, 9, 0}
	developer := Principal{owner.Tenant, dev.ID, RoleDeveloper}
	for _, tc := range []struct {
		name     string
		p        Principal
		from, to time.Time
		want     []UsageRow
	}{
		{"owner", owner, start, start.AddDate(0, 0, 1), []UsageRow{first, second}},
		{"one day", owner, start, start, []UsageRow{first}},
		{"developer", developer, start, start.AddDate(0, 0, 1), []UsageRow{second}},
		{"no days", owner, start.AddDate(0, 0, 1), start, []UsageRow{}},
	} {
		got, err := s.UsageReport(ctx, tc.p, tc.from, tc.to)
		if err != nil || !cmp.Equal(got, tc.want) {
			t.Errorf("%s: %v\n%s", tc.name, err, cmp.Diff(tc.want, got))
		}
	}
	_, err = s.UsageReport(ctx, Principal{owner.Tenant, owner.Key, RoleUser}, start, start)
	wantKind(t, "user", err, fault.Denied)
}

func TestFailedFlushLosesNothing(t *testing.T) {
	s, _, owner, _ := begin(t)
	u := Usage{Tenant: owner.Tenant, Key: owner.Key, Model: "m", Version: 1, Requests: 1}
	s.Record(u)
	canceled, cancel := context.WithCancel(ctx)
	cancel()
	wantKind(t, "Flush", s.Flush(canceled), fault.Canceled)
	s.Record(u)
	report, err := s.UsageReport(ctx, owner, start, start)
	if err != nil || len(report) != 1 || report[0].Requests != 2 {
		t.Errorf("usage %+v, %v", report, err)
	}
}

func TestLedgerIsBoundedAndKeepsTheSum(t *testing.T) {
	var l ledger
	for i := range maxPendingRows + 1000 {
		l.add(usageKey{tenant: "t", key: "k", model: "m", version: i + 1}, usageSum{requests: 1})
	}
	var sum int64
	taken := l.take()
	for _, u := range taken {
		sum += u.requests
	}
	if len(taken) != maxPendingRows+1 || sum != maxPendingRows+1000 {
		t.Errorf("%d rows with %d requests", len(taken), sum)
	}
}

func TestLastUsedIsSeenAtOnceAndStored(t *testing.T) {
	s, c, owner, secret := begin(t)
	c.add(90 * time.Second)
	authenticate(t, s, secret)
	want := c.now()
	keys, err := s.Keys(ctx, owner)
	if err != nil || !keys[0].LastUsedAt.Equal(want) {
		t.Errorf("before the flush: %+v, %v", keys, err)
	}
	if err := s.Flush(ctx); err != nil {
		t.Fatal(err)
	}
	keys, err = New(s.db, c.now).Keys(ctx, owner)
	if err != nil || !keys[0].LastUsedAt.Equal(want) {
		t.Errorf("after a restart: %+v, %v", keys, err)
	}
}

func TestRunFlushesAtTheEnd(t *testing.T) {
	s, _, owner, _ := begin(t)
	running, stop := context.WithCancel(ctx)
	done := make(chan error)
	go func() { done <- s.Run(running, nil) }()
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range 500 {
				s.Record(Usage{Tenant: owner.Tenant, Key: owner.Key, Model: "m", Version: 1, Requests: 1})
			}
		})
	}
	wg.Wait()
	stop()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	var n int
	err := s.db.Read(ctx, func(tx *sql.Tx) error { return tx.QueryRow(`SELECT sum(requests) FROM usage`).Scan(&n) })
	if err != nil || n != 2000 {
		t.Errorf("%d requests stored, %v; want 2000", n, err)
	}
}

func TestConcurrentUse(t *testing.T) {
	s, _, owner, secret := begin(t)
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range 5 {
				key, made, err := s.CreateKey(ctx, owner, "k", RoleUser)
				if err != nil {
					t.Error(err)
					return
				}
				if _, err := s.Authenticate(ctx, made); err != nil {
					t.Errorf("a new key: %v", err)
				}
				if err := s.RevokeKey(ctx, owner, key.ID); err != nil {
					t.Error(err)
				}
				if _, err := s.Authenticate(ctx, made); err == nil {
					t.Error("a revoked key was accepted")
				}
			}
		})
		wg.Go(func() {
			for range 200 {
				if _, err := s.Authenticate(ctx, secret); err != nil {
					t.Error(err)
				}
				s.Record(Usage{Tenant: owner.Tenant, Key: owner.Key, Model: "m", Version: 1, Requests: 1})
			}
			if err := s.Flush(ctx); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
}

func BenchmarkAuthenticate(b *testing.B) {
	s, _, _, secret := begin(b)
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if _, err := s.Authenticate(ctx, secret); err != nil {
				b.Fatal(err)
			}
		}
	})
}

func BenchmarkRecord(b *testing.B) {
	s, _, p, _ := begin(b)
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			s.Record(Usage{Tenant: p.Tenant, Key: p.Key, Model: "m", Version: 1, Requests: 1})
		}
	})
}

func TestDefaultIsTheFirstTenant(t *testing.T) {
	s, _, owner, _ := begin(t)
	if _, _, err := s.CreateTenant(t.Context(), "another"); err != nil {
		t.Fatal(err)
	}
	if id, err := s.Default(t.Context()); err != nil || id != owner.Tenant {
		t.Errorf("Default is %s, %v; the first owner's tenant is %s", id, err, owner.Tenant)
	}
}
