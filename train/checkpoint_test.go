package train

import (
	"os"
	"path/filepath"
	"testing"
)

// TestNewestAfterManySteps: names of nine digits are newer than those of eight, though the
// order of texts has it otherwise.
func TestNewestAfterManySteps(t *testing.T) {
	tr := &trainer{dir: t.TempDir()}
	if err := os.Mkdir(filepath.Join(tr.dir, checkpointDir), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, step := range []int{7, 99_999_900, 100_000_000, 100_000_100} {
		if err := os.WriteFile(tr.checkpointPath(step), nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := tr.prune(); err != nil {
		t.Fatal(err)
	}
	list, err := tr.checkpoints()
	if err != nil || len(list) != 2 || list[0] != tr.checkpointPath(100_000_100) || list[1] != tr.checkpointPath(100_000_000) {
		t.Errorf("%v, %v", list, err)
	}
}
