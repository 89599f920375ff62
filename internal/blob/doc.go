// Package blob keeps bytes under the name of their content.
//
// A Digest is the SHA-256 of the bytes, so a name can be checked against what it
// names, equal bytes are stored once, and a stored file never changes. Dir keeps
// them in a directory:
//
//	DIR/sha256/ab/abcdef…   one read-only file for each digest
//	DIR/tmp/                uploads under way; emptied by OpenDir
//
// A file appears under its digest only when all of its bytes are on the disk and
// their digest has been compared. So after kill -9 or a power cut, whatever is there
// is whole, and whatever Put has acknowledged is there.
//
// The package knows nothing of tenants. Who may see a digest, and when nobody needs
// it any more, is decided by internal/registry.
package blob
