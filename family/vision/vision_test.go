package vision

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"tandem/data/mnist"
	"tandem/fault"
	"tandem/graph/op"
	"tandem/kernel"
	"tandem/nn"
	"tandem/nn/layers"
	"tandem/train"
)

func spec() train.Spec {
	s := train.Spec{Name: "mnist", Family: "vision", Task: "classify", Data: train.DataSpec{Path: "mnist", LimitRows: 3000}}
	s.Train.Epochs, s.Train.Seed = 1, 1
	s.FillDefaults()
	return s
}

// TestMNISTBegins: after 47 steps on 3,000 real images far more than one in ten of
// the test images is right, and the weights do not depend on the threads. The
// accuracy of whole runs is measured by bench/mnist.py.
func TestMNISTBegins(t *testing.T) {
	if testing.Short() {
		t.Skip("trains for some seconds")
	}
	var digests []string
	for _, threads := range []int{1, 2} {
		p, err := Prepare(t.Context(), spec(), op.Default())
		if err != nil {
			t.Fatal(err)
		}
		pool := kernel.NewPool(threads, kernel.Detect())
		r, err := train.Run(t.Context(), p, spec(), filepath.Join(t.TempDir(), "run"), train.Options{Ops: op.Default(), Pool: pool})
		pool.Close()
		if err != nil {
			t.Fatal(err)
		}
		if got := r.Metrics["test_accuracy"]; got < 0.5 {
			t.Errorf("test accuracy %v after one epoch of 3,000 images, want at least 0.5: chance is 0.1", got)
		}
		digests = append(digests, string(r.Artifact))
	}
	if digests[0] != digests[1] {
		t.Errorf("with 1 thread %s, with 2 threads %s", digests[0], digests[1])
	}
}

func TestPrepareRefuses(t *testing.T) {
	for _, tc := range []struct {
		name   string
		change func(*train.Spec)
		want   string
	}{
		{"no such folder", func(s *train.Spec) { s.Data.Path = filepath.Join(t.TempDir(), "none") }, "the data cannot be read"},
		{"an empty folder", func(s *train.Spec) { s.Data.Path = t.TempDir() }, "is an empty folder"},
		{"a test set beside that of its own", func(s *train.Spec) { s.Data.TestPath = t.TempDir() }, "images to test with of its own"},
		{"a split by a column", func(s *train.Spec) { s.Data.Split.By, s.Data.Split.Column = "group", "label" }, "split"},
		{"a loss of numbers", func(s *train.Spec) { s.Train.Loss.Name = "mae" }, "train.loss.name is mae, which is for numbers"},
		{"a weight of no class", func(s *train.Spec) { s.Train.Loss.Weights = map[string]float32{"ten": 2} }, `names "ten", which is no class`},
		{"a section of another family", func(s *train.Spec) { s.Model.Value = struct{}{} }, "the section model is a struct {}"},
		{"a window larger than the image", func(s *train.Spec) {
			s.Model.Value = Model{Layers: layers.List{nn.Conv2D{Filters: 2, Kernel: 40}}}
		}, "cannot be built for images of 28x28"},
		{"no list of scores", func(s *train.Spec) {
			s.Model.Value = Model{Layers: layers.List{nn.Conv2D{Filters: 2, Kernel: 3}}}
		}, "the layers give scores of shape [batch, 2, 26, 10], a picture has one list of them"},
	} {
		s := spec()
		tc.change(&s)
		_, err := Prepare(context.Background(), s, op.Default())
		if err == nil || !strings.Contains(err.Error(), tc.want) || fault.KindOf(err) == fault.Internal {
			t.Errorf("%s: %v (%v), want %q", tc.name, err, fault.KindOf(err), tc.want)
		}
	}
}

// TestBrokenDataIsNamed: a truncated file and labels of another length.
func TestBrokenDataIsNamed(t *testing.T) {
	source, err := mnist.Folder(t.Context(), mnist.Options{})
	if err != nil {
		t.Fatal(err)
	}
	copyTo := func(dir string) {
		if err := os.CopyFS(dir, source); err != nil {
			t.Fatal(err)
		}
	}
	s := spec()
	s.Data.Path = filepath.Join(t.TempDir(), "cut")
	copyTo(s.Data.Path)
	if err := os.Truncate(filepath.Join(s.Data.Path, "train-images-idx3-ubyte.gz"), 1<<20); err != nil {
		t.Fatal(err)
	}
	if _, err := Prepare(t.Context(), s, op.Default()); fault.KindOf(err) != fault.Invalid || !strings.Contains(err.Error(), "train-images-idx3-ubyte.gz") {
		t.Errorf("a truncated file: %v", err)
	}
	s.Data.Path = filepath.Join(t.TempDir(), "short")
	copyTo(s.Data.Path)
	test, err := os.ReadFile(filepath.Join(s.Data.Path, "t10k-labels-idx1-ubyte.gz"))
	if err != nil {
		t.Fatal(err)
	}
	labels := filepath.Join(s.Data.Path, "train-labels-idx1-ubyte.gz")
	if err := os.Remove(labels); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(labels, test, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := Prepare(t.Context(), s, op.Default()); fault.KindOf(err) != fault.Invalid || !strings.Contains(err.Error(), "10000") {
		t.Errorf("labels of another length: %v", err)
	}
}
