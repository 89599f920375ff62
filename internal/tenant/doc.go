// Package tenant knows who may do what, and counts what they did.
//
// A tenant is a team whose models, keys and counts no other team can see or guess at. A
// key belongs to one tenant and has one role. Whoever shows the key's secret becomes a
// Principal, the value that all other packages receive; they never see a secret.
//
// Authenticate is on the path of every request, so the live keys are in memory; each
// change goes to the database first, then to memory, before the caller is answered: a
// revoked key is refused from that moment on.
//
// Usage is counted in memory and written each second: see Service.Record for what a
// crash can lose.
package tenant
