// Package registry keeps the models of each tenant: their bytes, numbered versions, and
// which version is deployed.
//
// A model gets a version in two steps. PutBlob stores the files of an artifact, each
// under its digest; bytes that the tenant has sent before need not be sent again. Then
// CreateVersion names them all at once with a manifest, in one transaction: there is
// never a version that lacks a file. A version never changes, and its number is never
// used again.
//
// Deploy, Rollback and Undeploy write a history. They record what should serve;
// internal/serve reads it (AllDeployed) and does it.
//
// Tenants share one blob.Dir but not the knowledge of it: a digest is visible to those
// who have sent its bytes. What another tenant has is NotFound, in the same words as
// what nobody has. GC removes the bytes that no version of any tenant names. The
// registry keeps the books of the whole directory, so whatever is put there otherwise is
// removed.
package registry
