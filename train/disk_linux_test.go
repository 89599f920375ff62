package train_test

import (
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"tandem/fault"
	"tandem/internal/blob/crashtest"
	"tandem/train"
)

// TestFullDisk: training stops at the checkpoint that does not fit with an error
// that says what to do; once there is room, it goes on to the same weights.
func TestFullDisk(t *testing.T) {
	crashtest.SmallDisk(t, 2<<20, func(disk string) {
		want, err := train.Run(t.Context(), twoLayers(t, 5), twoLayersSpec(2), filepath.Join(t.TempDir(), "run"), options(t, 1))
		if err != nil {
			t.Fatal(err)
		}
		dir := filepath.Join(disk, "run")
		opt := options(t, 1)
		var free func()
		p := twoLayers(t, 5)
		feed := p.Feed
		var left atomic.Int64
		left.Store(20)
		p.Feed = func(d dataset, in []tensorPtr, target tensorPtr) error {
			if left.Add(-1) == 0 {
				free = crashtest.Fill(t, disk)
			}
			return feed(d, in, target)
		}
		_, err = train.Run(t.Context(), p, twoLayersSpec(2), dir, opt)
		if fault.KindOf(err) != fault.NoSpace || !strings.Contains(fault.RemedyOf(err), "--resume") {
			t.Errorf("on a full disk: %v (%v)", err, fault.KindOf(err))
		}
		free()
		opt.Resume = true
		got, err := train.Run(t.Context(), twoLayers(t, 5), twoLayersSpec(2), dir, opt)
		if err != nil || got.Artifact != want.Artifact {
			t.Errorf("with room again: %v, %+v, want %s", err, got, want.Artifact)
		}
	})
}
