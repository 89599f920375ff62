//go:build embed_mnist

package mnist

import (
	"embed"
	"io/fs"
)

//go:embed embedded/*.gz
var embeddedFiles embed.FS

// embedded is the set in the program, if it was built with it.
func embedded() (fs.FS, bool) {
	fsys, err := fs.Sub(embeddedFiles, "embedded")
	return fsys, err == nil
}
