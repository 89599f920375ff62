//go:build !embed_mnist

package mnist

import "io/fs"

// embedded is the set in the program, if it was built with it.
func embedded() (fs.FS, bool) { return nil, false }
