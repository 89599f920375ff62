package block

import (
	"bufio"
	"crypto/sha256"
	"fmt"
	"math"
	"os"
	"testing"

	"pgregory.net/rapid"
)

// numbers gives what testdata/ggml.py gives for a case.
func numbers(n, seed int) []float32 {
	draw := func(seed uint64, i int) uint64 {
		z := seed + 0x9E3779B97F4A7C15*uint64(i+1)
		z = (z ^ z>>30) * 0xBF58476D1CE4E5B9
		z = (z ^ z>>27) * 0x94D049BB133111EB
		return z ^ z>>31
	}
	x := make([]float32, n)
	for i := range x {
		var sum int64
		for j := range 4 {
			sum += int64(draw(uint64(seed), 4*i+j)>>40) - 1<<23
		}
		v := float32(sum) * (1.0 / (1 << 25))
		switch seed % 6 {
		case 1:
			v = abs(v)
		case 2:
			if draw(uint64(seed+100), i)%8 != 0 {
				v = 0
			}
		case 3:
			v *= float32(math.Ldexp(1, i/32%20-15))
		case 4:
			v = float32(math.RoundToEven(float64(v*8))) / 8
		case 5:
			if i/256%3 == 0 {
				v = 0
			} else {
				v = -abs(v)
			}
		}
		x[i] = v
	}
	return x
}

func digest(b []byte) string { return fmt.Sprintf("%x", sha256.Sum256(b)) }

// TestEqualsGGML compares with what ggml gave for the same numbers, as
// testdata/ggml.py recorded it.
func TestEqualsGGML(t *testing.T) {
	file, err := os.Open("testdata/ggml.txt")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	lines := 0
	for s := bufio.NewScanner(file); s.Scan(); lines++ {
		var name, blocks, back string
		var seed int
		if _, err := fmt.Sscan(s.Text(), &name, &seed, &blocks, &back); err != nil {
			t.Fatal(err)
		}
		f, err := Parse(name)
		if err != nil {
			t.Fatal(err)
		}
		x := numbers(4096, seed)
		b := make([]byte, f.Size(len(x)))
		Encode(f, b, x)
		if digest(b) != blocks {
			t.Errorf("%v, case %d: other blocks than ggml's", f, seed)
		}
		y := make([]float32, len(x))
		Decode(f, y, b)
		raw := make([]byte, 4*len(y))
		Encode(F32, raw, y)
		if digest(raw) != back {
			t.Errorf("%v, case %d: other numbers than ggml's", f, seed)
		}
	}
	if lines != 120 {
		t.Fatalf("%d cases, expected 120", lines)
	}
}

// codecs are the formats that this package encodes.
func codecs() (all []Format) {
	for f := range layouts {
		if f.Codec() {
			all = append(all, f)
		}
	}
	return all
}

// TestDecodeIsNear: a number comes back within the step that the format's bits give
// over the range of its block.
func TestDecodeIsNear(t *testing.T) {
	steps := map[Format]float64{F32: 1e30, F16: 1024, BF16: 128, Q4_0: 7, Q4_1: 15, Q5_0: 15, Q5_1: 31, Q8_0: 127, Q4_K: 12, Q5_K: 25, Q6_K: 30}
	for _, f := range codecs() {
		for seed := range 12 {
			if seed%6 == 3 {
				continue // scales so small that binary16 rounds them by more
			}
			x := numbers(f.Elements()*4, seed)
			b := make([]byte, f.Size(len(x)))
			Encode(f, b, x)
			y := make([]float32, len(x))
			Decode(f, y, b)
			for i := range x {
				block := x[i/f.Elements()*f.Elements():][:f.Elements()]
				limit := float64(abs(extreme(block)))*(1/steps[f]+1.0/1024) + 1e-7
				if d := math.Abs(float64(x[i] - y[i])); d > limit {
					t.Fatalf("%v, case %d: number %d: %g came back as %g, allowed %g", f, seed, i, x[i], y[i], limit)
				}
			}
		}
	}
}

// TestForeignBlocks: any bytes can be decoded, and any numbers encoded.
func TestForeignBlocks(t *testing.T) {
	all := codecs()
	rapid.Check(t, func(t *rapid.T) {
		f := rapid.SampledFrom(all).Draw(t, "format")
		b := rapid.SliceOfN(rapid.Byte(), f.Bytes(), f.Bytes()).Draw(t, "block")
		y := make([]float32, f.Elements())
		Decode(f, y, b)
		x := rapid.SliceOfN(rapid.Float32(), f.Elements(), f.Elements()).Draw(t, "numbers")
		Encode(f, b, x)
	})
}

func TestSizesAreChecked(t *testing.T) {
	for _, run := range []func(){
		func() { Decode(Q8_0, make([]float32, 33), make([]byte, 34)) },
		func() { Decode(Q8_0, make([]float32, 32), make([]byte, 33)) },
		func() { Encode(Format(20), make([]byte, 18), make([]float32, 32)) },
		func() { Encode(Format(5), make([]byte, 18), make([]float32, 32)) },
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Error("no panic")
				}
			}()
			run()
		}()
	}
}
