package train_test

import (
	"math"
	"path/filepath"
	"testing"

	"tandem/tensor"
	"tandem/train"
)

// TestBFloat16: with products of bfloat16 the net learns, by another way than in float32,
// to weights that are more exact than bfloat16; and they are the same with any threads.
func TestBFloat16(t *testing.T) {
	run := func(precision string, epochs, threads int) *train.Record {
		spec := twoLayersSpec(epochs)
		spec.Train.Precision = precision
		r, err := train.Run(t.Context(), twoLayers(t, 3), spec, filepath.Join(t.TempDir(), "run"), options(t, threads))
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	if got := run("bf16", 15, 2).Metrics["test_accuracy"]; got < 0.95 {
		t.Errorf("test accuracy %v, want at least 0.95 as in float32", got)
	}
	one := run("bf16", 2, 1).Artifact
	if three := run("bf16", 2, 3).Artifact; three != one {
		t.Errorf("three threads give %s, one %s", three, one)
	}
	if run("f32", 2, 1).Artifact == one {
		t.Error("the weights are those of float32")
	}
}

// TestBFloat16KeepsFloat32: a step changes parameters by less than bfloat16 could say.
func TestBFloat16KeepsFloat32(t *testing.T) {
	spec := twoLayersSpec(1).Train
	spec.Precision = "bf16"
	opt := options(t, 1)
	p := twoLayers(t, 3)
	s, err := train.NewStepper(p, spec, opt.Ops, opt.Pool)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	x, target := tensor.New(tensor.Float32, 32, 2), tensor.New(tensor.Int64, 32)
	for i := range x.F32() {
		x.F32()[i] = float32(i%7) - 3
		target.I64()[i/2] = int64(i / 2 % 2)
	}
	for step := 1; step <= 2; step++ {
		if _, _, err := s.Step(t.Context(), step, 1e-4, []*tensor.Tensor{x}, target); err != nil {
			t.Fatal(err)
		}
	}
	exact := 0
	for _, v := range p.Params {
		w, _ := s.State(v.Name)
		for _, x := range w.F32() {
			if math.Float32bits(x)&0xffff != 0 {
				exact++
			}
		}
	}
	if exact < 50 {
		t.Errorf("%d weights are no numbers of bfloat16", exact)
	}
}
