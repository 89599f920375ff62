package vision

import (
	"archive/zip"
	"bytes"
	"errors"
	"fmt"
	"image"
	"image/color"
	"image/jpeg"
	"image/png"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"tandem"
	"tandem/data"
	"tandem/fault"
	"tandem/graph/op"
	"tandem/kernel"
	"tandem/nn"
	"tandem/nn/layers"
	"tandem/processor"
	"tandem/tensor"
	"tandem/train"
)

// picture has a bright square in the upper left or the lower right, of one colour.
func picture(t testing.TB, format string, h, w int, right bool, c color.Color) []byte {
	t.Helper()
	m := image.NewRGBA(image.Rect(0, 0, w, h))
	for y := range h {
		for x := range w {
			m.Set(x, y, color.Gray{Y: uint8(40 + (x*7+y*3)%20)})
			if inside := x < w/2 && y < h/2; inside != right && (inside || x >= w/2 && y >= h/2) {
				m.Set(x, y, c)
			}
		}
	}
	var b bytes.Buffer
	var err error
	if format == "png" {
		err = png.Encode(&b, m)
	} else {
		err = jpeg.Encode(&b, m, nil)
	}
	if err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// squares are pictures of two classes in several sizes, as a folder and a zip.
func squares(t testing.TB, n int, c color.Color) (folder, zipped string) {
	t.Helper()
	folder = filepath.Join(t.TempDir(), "squares")
	zipped = folder + ".zip"
	f, err := os.Create(zipped)
	if err != nil {
		t.Fatal(err)
	}
	z := zip.NewWriter(f)
	for i := range n {
		for k, class := range []string{"left", "right"} {
			format := []string{"png", "jpg"}[i%2]
			name := fmt.Sprintf("%s/%03d.%s", class, i, format)
			text := picture(t, format, 16+i%5, 16+i%3, k == 1, c)
			if err := os.MkdirAll(filepath.Join(folder, class), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(folder, name), text, 0o644); err != nil {
				t.Fatal(err)
			}
			w, err := z.Create(name)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := w.Write(text); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	return folder, zipped
}

func pictureSpec(path string) train.Spec {
	s := train.Spec{Name: "squares", Family: "vision", Task: "classify", Data: train.DataSpec{Path: path}}
	s.Data.Split.Test = 0.25
	s.Train.Epochs, s.Train.Seed, s.Train.BatchRows = 3, 1, 8
	s.Train.Optimizer.LearningRate = 0.003
	s.Model.Value = Model{
		Size: []int{16}, Colour: "auto", Resize: "stretch", Augment: Augment{Shift: 1, Zoom: 0.1},
		Layers: layers.List{nn.Conv2D{Filters: 4, Kernel: 3, Stride: 2, Activation: nn.ReLU}, nn.Flatten{}},
	}
	s.FillDefaults()
	return s
}

// TestPicturesTrain: a folder and a zip give the same weights with one thread and two,
// and the artifact's own processor, given the test pictures, gives the accuracy that the
// run has measured.
func TestPicturesTrain(t *testing.T) {
	folder, zipped := squares(t, 40, color.RGBA{R: 250, G: 200, B: 10, A: 255})
	var digests []string
	for i, path := range []string{folder, zipped} {
		s := pictureSpec(path)
		p, err := Prepare(t.Context(), s, op.Default())
		if err != nil {
			t.Fatal(err)
		}
		if p.Artifact.Image.Channels != 3 {
			t.Errorf("coloured pictures have %d channels", p.Artifact.Image.Channels)
		}
		pool := kernel.NewPool(i+1, kernel.Detect())
		dir := filepath.Join(t.TempDir(), "run")
		s.Data.Path = "squares" // a part of the record
		r, err := train.Run(t.Context(), p, s, dir, train.Options{Ops: op.Default(), Pool: pool})
		pool.Close()
		if err != nil {
			t.Fatal(err)
		}
		digests = append(digests, string(r.Artifact))
		if want := r.Metrics["test_accuracy"]; want < 0.9 || want != servedAccuracy(t, dir, p.Test) {
			t.Errorf("accuracy %v in training, %v of the artifact", want, servedAccuracy(t, dir, p.Test))
		}
		if err := p.Train.Close(); err != nil {
			t.Error(err)
		}
	}
	if digests[0] != digests[1] {
		t.Errorf("the folder with one thread gives %s, the zip with two %s", digests[0], digests[1])
	}
}

// servedAccuracy is that of a run's artifact over the pictures of a set.
func servedAccuracy(t *testing.T, dir string, set *data.Dataset) float64 {
	t.Helper()
	m, err := tandem.Open(dir, tandem.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	text, err := os.ReadFile(filepath.Join(dir, train.ModelDir, "image.json"))
	if err != nil {
		t.Fatal(err)
	}
	p := new(processor.Image)
	if err := p.UnmarshalJSON(text); err != nil {
		t.Fatal(err)
	}
	right := 0
	err = set.Scan(func(part *data.Dataset) error {
		labels, _ := part.Column(data.LabelColumn)
		for i, want := range labels.I64() {
			pixels, err := decode(p, part, i)
			if err != nil {
				return err
			}
			out, err := m.Run(t.Context(), map[string]*tensor.Tensor{"image": pixels})
			if err != nil {
				return err
			}
			scores := out["probabilities"].F32()
			if (scores[1] > scores[0]) == (want == 1) {
				right++
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return float64(right) / float64(set.Len())
}

// TestPictureSizes: what is said of sizes and colours, and what follows where nothing is.
func TestPictureSizes(t *testing.T) {
	several, _ := squares(t, 4, color.RGBA{R: 250, A: 255})
	gray, _ := squares(t, 1, color.Gray{Y: 200})
	for _, tc := range []struct {
		name, path string
		change     func(*Model)
		want       [3]int // channels, height, width
	}{
		{"several sizes", several, func(m *Model) { m.Size = nil }, [3]int{3, 64, 64}},
		{"one size", gray, func(m *Model) { m.Size = nil }, [3]int{1, 16, 16}},
		{"gray is asked for", several, func(m *Model) { m.Size, m.Colour = []int{20, 30}, "gray" }, [3]int{1, 20, 30}},
		{"colour is asked for", gray, func(m *Model) { m.Colour, m.Resize = "rgb", "crop" }, [3]int{3, 16, 16}},
	} {
		s := pictureSpec(tc.path)
		m := s.Model.Value.(Model)
		tc.change(&m)
		s.Model.Value = m
		s.Data.TestPath, s.Data.Split.Test = tc.path, 0
		p, err := Prepare(t.Context(), s, op.Default())
		if err != nil {
			t.Fatalf("%s: %v", tc.name, err)
		}
		if i := p.Artifact.Image; [3]int{i.Channels, i.Height, i.Width} != tc.want {
			t.Errorf("%s: %d channels of %dx%d, want %v", tc.name, i.Channels, i.Height, i.Width, tc.want)
		}
		if err := p.Train.Close(); err != nil {
			t.Error(err)
		}
	}
}

// TestMoments: the mean and the deviation of each channel, over the set to train on.
func TestMoments(t *testing.T) {
	folder := t.TempDir()
	for class, c := range map[string]color.RGBA{"dark": {A: 255}, "light": {R: 255, G: 102, B: 51, A: 255}} {
		m := image.NewRGBA(image.Rect(0, 0, 4, 4))
		for i := range 16 {
			m.Set(i%4, i/4, c)
		}
		var b bytes.Buffer
		if err := errors.Join(png.Encode(&b, m), os.Mkdir(filepath.Join(folder, class), 0o755)); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(folder, class, "1.png"), b.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	s := pictureSpec(folder)
	s.Data.TestPath, s.Data.Split.Test = folder, 0
	m := s.Model.Value.(Model)
	m.Size = nil
	m.Layers = layers.List{nn.Flatten{}}
	s.Model.Value = m
	p, err := Prepare(t.Context(), s, op.Default())
	if err != nil {
		t.Fatal(err)
	}
	defer p.Train.Close()
	for k, want := range []float32{0.5, 0.2, 0.1} {
		if i := p.Artifact.Image; math.Abs(float64(i.Mean[k]-want)) > 1e-6 || math.Abs(float64(i.Std[k]-want)) > 1e-6 {
			t.Errorf("channel %d has the mean %v and the deviation %v, want %v", k, i.Mean[k], i.Std[k], want)
		}
	}
}

// TestBrokenPictureIsNamed: one whose head is whole and whose body is not stops the run
// before it begins, and one that changes later stops it then.
func TestBrokenPictureIsNamed(t *testing.T) {
	folder, _ := squares(t, 4, color.White)
	broken := filepath.Join(folder, "left", "002.png")
	whole, err := os.ReadFile(broken)
	if err != nil {
		t.Fatal(err)
	}
	damaged := bytes.Clone(whole)
	damaged[len(damaged)/2] ^= 0x55
	write := func(text []byte) {
		if err := os.WriteFile(broken, text, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	s := pictureSpec(folder)
	s.Data.TestPath, s.Data.Split.Test = folder, 0
	check := func(err error) {
		t.Helper()
		if fault.KindOf(err) != fault.Invalid || !strings.Contains(err.Error(), "picture left/002.png") || !strings.Contains(fault.RemedyOf(err), "take it out") {
			t.Errorf("%v (%v), try %q", err, fault.KindOf(err), fault.RemedyOf(err))
		}
	}
	write(damaged)
	_, err = Prepare(t.Context(), s, op.Default())
	check(err)
	write(whole)
	p, err := Prepare(t.Context(), s, op.Default())
	if err != nil {
		t.Fatal(err)
	}
	write(damaged)
	pool := kernel.NewPool(1, kernel.Detect())
	defer pool.Close()
	_, err = train.Run(t.Context(), p, s, filepath.Join(t.TempDir(), "run"), train.Options{Ops: op.Default(), Pool: pool})
	check(err)
}
