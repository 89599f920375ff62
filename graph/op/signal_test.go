package op_test

import (
	"fmt"
	"math"
	"math/cmplx"
	"math/rand/v2"
	"testing"

	"tandem/graph"
	"tandem/tensor"
)

// spectrum is the transform by its definition.
func spectrum(x []complex128, n int) []complex128 {
	y := make([]complex128, n)
	for k := range y {
		for j := range min(n, len(x)) {
			y[k] += x[j] * cmplx.Rect(1, -2*math.Pi*float64(j*k)/float64(n))
		}
	}
	return y
}

func pairs(z []complex128) []float64 {
	var v []float64
	for _, c := range z {
		v = append(v, real(c), imag(c))
	}
	return v
}

func TestDFTEqualsItsDefinition(t *testing.T) {
	rng := rand.New(rand.NewPCG(21, 22))
	dft := graph.OpID{Name: "DFT"}
	for _, n := range []int{1, 2, 3, 5, 8, 12, 16, 31} {
		z := make([]complex128, n)
		for i := range z {
			z[i] = complex(rng.NormFloat64(), rng.NormFloat64())
		}
		x := of(t, tensor.Float64, pairs(z), 1, n, 2)
		for _, length := range []int{n, n + 3, max(1, n-1)} {
			want := spectrum(z, length)
			got, err := apply(t, 17, dft, nil, x, tensor.Scalar(int64(length)))
			if err != nil {
				t.Fatal(err)
			}
			if !sameNumbers(numbersOf(got), pairs(want), 1e-9) {
				t.Errorf("%d of %d: %v, want %v", length, n, numbersOf(got), pairs(want))
			}
			half, err := apply(t, 17, dft, attrs("onesided", int64(1)), x, tensor.Scalar(int64(length)))
			if err != nil || !sameNumbers(numbersOf(half), pairs(want[:length/2+1]), 1e-9) {
				t.Errorf("%d of %d, one side: %v %v", length, n, half, err)
			}
		}
		there, err := apply(t, 20, dft, nil, x)
		if err != nil {
			t.Fatal(err)
		}
		back, err := apply(t, 20, dft, attrs("inverse", int64(1)), there, nil, tensor.Scalar(int64(1)))
		if err != nil || !sameNumbers(numbersOf(back), pairs(z), 1e-9) {
			t.Errorf("%d there and back: %v, %v", n, back, err)
		}
		// A real signal comes back from one side of its spectrum.
		line := of(t, tensor.Float64, randomNumbers(rng, n), 1, n, 1)
		side, err := apply(t, 20, dft, attrs("onesided", int64(1)), line)
		if err != nil {
			t.Fatal(err)
		}
		again, err := apply(t, 20, dft, attrs("onesided", int64(1), "inverse", int64(1)), side, tensor.Scalar(int64(n)))
		if err != nil || !again.Shape().Equal(line.Shape()) || !sameNumbers(numbersOf(again), numbersOf(line), 1e-9) {
			t.Errorf("%d from one side: %v %v, want %v, %v", n, again, numbersOf(again), numbersOf(line), err)
		}
	}
}

// The axis is any dimension but the last, and a signal of a middle dimension is
// not contiguous.
func TestDFTAxis(t *testing.T) {
	x := of(t, tensor.Float32, []float64{1, 2, 3, 4, 5, 6}, 3, 2, 1)
	got, err := apply(t, 20, graph.OpID{Name: "DFT"}, nil, x, nil, tensor.Scalar(int64(-3)))
	if err != nil {
		t.Fatal(err)
	}
	s := math.Sqrt(3)
	want := []float64{9, 0, 12, 0, -3, s, -3, s, -3, -s, -3, -s}
	if !sameNumbers(numbersOf(got), want, 1e-5) {
		t.Errorf("%v, want %v", numbersOf(got), want)
	}
	for _, axis := range []int64{2, -1, 3, -4} {
		if _, err := apply(t, 20, graph.OpID{Name: "DFT"}, nil, x, nil, tensor.Scalar(axis)); err == nil {
			t.Errorf("axis %d: no error", axis)
		}
	}
}

func TestSTFT(t *testing.T) {
	rng := rand.New(rand.NewPCG(23, 24))
	signal, window := randomNumbers(rng, 20), randomNumbers(rng, 6)
	var want []float64
	for frame := range 5 {
		z := make([]complex128, 6)
		for j := range z {
			z[j] = complex(signal[frame*3+j]*window[j], 0)
		}
		want = append(want, pairs(spectrum(z, 6)[:4])...)
	}
	for _, d := range floatTypes {
		for _, shape := range [][]int{{1, 20, 1}, {1, 20}} {
			got, err := apply(t, 17, graph.OpID{Name: "STFT"}, nil, of(t, d, signal, shape...), tensor.Scalar(int64(3)), of(t, d, window, 6))
			if err != nil {
				t.Fatal(err)
			}
			if fmt.Sprint(got.Shape()) != "1x5x4x2" || !sameNumbers(numbersOf(got), want, 2*tolerance(d)) {
				t.Errorf("%v: %v %v, want %v", d, got, numbersOf(got), want)
			}
		}
	}
	x := tensor.New(tensor.Float32, 1, 20, 1)
	for name, in := range map[string][]*tensor.Tensor{
		"no frame":   {x, tensor.Scalar(int64(3))},
		"no step":    {x, tensor.Scalar(int64(0)), nil, tensor.Scalar(int64(4))},
		"too long":   {x, tensor.Scalar(int64(3)), nil, tensor.Scalar(int64(21))},
		"two frames": {x, tensor.Scalar(int64(3)), tensor.New(tensor.Float32, 5), tensor.Scalar(int64(4))},
	} {
		if _, err := apply(t, 17, graph.OpID{Name: "STFT"}, nil, in...); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

func TestSignalWindows(t *testing.T) {
	for _, tc := range []struct {
		name     string
		periodic int64
		want     []float64
	}{
		{"HannWindow", 1, []float64{0, 0.5, 1, 0.5}},
		{"HannWindow", 0, []float64{0, 0.75, 0.75, 0}},
		{"HammingWindow", 1, []float64{4.0 / 46, 25.0 / 46, 1, 25.0 / 46}},
		{"BlackmanWindow", 1, []float64{0, 0.34, 1, 0.34}},
		{"BlackmanWindow", 0, []float64{0, 0.63, 0.63, 0}},
	} {
		for _, d := range floatTypes {
			a := attrs("periodic", tc.periodic, "output_datatype", int64(d))
			got, err := apply(t, 17, graph.OpID{Name: tc.name}, a, tensor.Scalar(int64(4)))
			if err != nil {
				t.Fatal(err)
			}
			if got.DType() != d || !sameNumbers(numbersOf(got), tc.want, tolerance(d)) {
				t.Errorf("%s periodic=%d of %v: %v, want %v", tc.name, tc.periodic, d, numbersOf(got), tc.want)
			}
		}
	}
	for _, bad := range []*tensor.Tensor{tensor.Scalar(int64(-1)), tensor.Of([]int64{1, 2}, 2), tensor.Scalar(float32(3))} {
		if _, err := apply(t, 17, graph.OpID{Name: "HannWindow"}, nil, bad); err == nil {
			t.Errorf("size %v: no error", bad)
		}
	}
	if _, err := apply(t, 17, graph.OpID{Name: "HannWindow"}, attrs("output_datatype", int64(8)), tensor.Scalar(int64(3))); err == nil {
		t.Error("a window of strings: no error")
	}
}

// Each filter rises to one at its centre and falls; no filter leaves the spectrum.
func TestMelWeightMatrix(t *testing.T) {
	in := []*tensor.Tensor{tensor.Scalar(int64(4)), tensor.Scalar(int64(64)), tensor.Scalar(int64(8192)), tensor.Scalar(float32(0)), tensor.Scalar(float32(4096))}
	got, err := apply(t, 17, graph.OpID{Name: "MelWeightMatrix"}, nil, in...)
	if err != nil {
		t.Fatal(err)
	}
	v := got.F32()
	for bin := range 4 {
		peak := 0
		for j := range 33 {
			if v[j*4+bin] > v[peak*4+bin] {
				peak = j
			}
		}
		if v[peak*4+bin] != 1 {
			t.Errorf("filter %d has its peak %v at %d", bin, v[peak*4+bin], peak)
		}
		for j := 1; j < 33; j++ {
			if rises := v[j*4+bin] > v[(j-1)*4+bin]; rises && j > peak {
				t.Errorf("filter %d rises again at %d", bin, j)
			}
		}
	}
	in[4] = tensor.Scalar(float32(-1))
	if _, err := apply(t, 17, graph.OpID{Name: "MelWeightMatrix"}, nil, in...); err == nil {
		t.Error("descending edges: no error")
	}
}
