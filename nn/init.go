package nn

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"tandem/kernel"
)

// Init says how a parameter begins. The zero value is what suits the layer.
type Init string

const (
	Zeros         Init = "zeros"
	Ones          Init = "ones"
	HeUniform     Init = "he_uniform"     // ±√(6/in), for layers followed by ReLU (He et al., 2015)
	HeNormal      Init = "he_normal"      // of deviation √(2/in)
	GlorotUniform Init = "glorot_uniform" // ±√(6/(in+out)) (Glorot and Bengio, 2010)
	GlorotNormal  Init = "glorot_normal"  // of deviation √(2/(in+out))
	LecunUniform  Init = "lecun_uniform"  // ±√(3/in), which keeps the variance of a linear layer (LeCun et al., 1998)
	LecunNormal   Init = "lecun_normal"   // of deviation √(1/in)
	TorchUniform  Init = "torch_uniform"  // ±√(1/in), PyTorch's default of linear layers and convolutions
	Orthogonal    Init = "orthogonal"     // rows, or columns, that are orthogonal to each other and of length 1 (Saxe et al., 2014)
)

// Normal draws from a normal distribution around 0.
func Normal(deviation float64) Init { return scaled("normal", deviation) }

// Uniform draws from ±bound.
func Uniform(bound float64) Init { return scaled("uniform", bound) }

// Constant is one number.
func Constant(value float64) Init { return scaled("constant", value) }

func scaled(name string, scale float64) Init {
	return Init(fmt.Sprintf("%s(%s)", name, strconv.FormatFloat(scale, 'g', -1, 64)))
}

// Inits are the names of all initialisers; the last three take a number.
func Inits() []string {
	var names []string
	for _, i := range []Init{Zeros, Ones, HeUniform, HeNormal, GlorotUniform, GlorotNormal, LecunUniform, LecunNormal, TorchUniform, Orthogonal} {
		names = append(names, string(i))
	}
	return append(names, "normal", "uniform", "constant")
}

// Split parts an initialiser into its name and the text of its number, "" if it has none.
func (i Init) Split() (name, scale string) {
	name, scale, _ = strings.Cut(string(i), "(")
	return name, strings.TrimSuffix(scale, ")")
}

// or is the initialiser, or another where none is given.
func (i Init) or(other Init) Init {
	if i == "" {
		return other
	}
	return i
}

// Fan is what initialisers go by: of how many numbers an output is the sum, and into how
// many outputs a number goes; and of matrices of what size the parameter consists.
type Fan struct{ In, Out, Rows, Columns int }

// fill draws a parameter.
func (i Init) fill(dst []float32, f Fan, seed, stream uint64) error {
	name, text := i.Split()
	scale, err := 0.0, error(nil)
	if text != "" {
		scale, err = strconv.ParseFloat(text, 64)
	}
	at := slices.Index(Inits(), name)
	if takes := at >= slices.Index(Inits(), "normal"); at < 0 || takes != (text != "") || err != nil || math.IsNaN(scale) || math.IsInf(scale, 0) {
		return fmt.Errorf("initialiser %q is unknown: use %s, with a number the last three", string(i), strings.Join(Inits(), ", "))
	}
	in, out := float64(f.In), float64(f.Out)
	switch i {
	case Zeros:
	case Ones:
		set(dst, 1)
	case HeUniform:
		uniform(dst, math.Sqrt(6/in), seed, stream)
	case HeNormal:
		normal(dst, math.Sqrt(2/in), seed, stream)
	case GlorotUniform:
		uniform(dst, math.Sqrt(6/(in+out)), seed, stream)
	case GlorotNormal:
		normal(dst, math.Sqrt(2/(in+out)), seed, stream)
	case LecunUniform:
		uniform(dst, math.Sqrt(3/in), seed, stream)
	case LecunNormal:
		normal(dst, math.Sqrt(1/in), seed, stream)
	case TorchUniform:
		uniform(dst, math.Sqrt(1/in), seed, stream)
	case Orthogonal:
		return orthogonal(dst, f, seed, stream)
	}
	switch name {
	case "normal":
		normal(dst, scale, seed, stream)
	case "uniform":
		uniform(dst, scale, seed, stream)
	case "constant":
		set(dst, float32(scale))
	}
	return nil
}

func set(dst []float32, v float32) {
	for i := range dst {
		dst[i] = v
	}
}

func uniform(dst []float32, bound float64, seed, stream uint64) {
	kernel.Uniform(dst, seed, stream)
	for i, u := range dst {
		dst[i] = float32((2*float64(u) - 1) * bound)
	}
}

func normal(dst []float32, deviation float64, seed, stream uint64) {
	kernel.Normal(dst, seed, stream)
	for i, v := range dst {
		dst[i] = float32(float64(v) * deviation)
	}
}

// orthogonal draws each matrix from a normal distribution and makes its rows, or its
// columns if they are fewer, orthogonal by Gram and Schmidt's method, twice for precision.
func orthogonal(dst []float32, f Fan, seed, stream uint64) error {
	if f.Rows < 1 || f.Columns < 1 || len(dst)%(f.Rows*f.Columns) != 0 {
		return fmt.Errorf("initialiser orthogonal is for matrices, a parameter of %d numbers is none", len(dst))
	}
	kernel.Normal(dst, seed, stream)
	for ; len(dst) > 0; dst = dst[f.Rows*f.Columns:] {
		vectors := make([][]float64, min(f.Rows, f.Columns))
		at := func(i, j int) *float32 { return &dst[i*f.Columns+j] } // element j of vector i
		if f.Columns < f.Rows {
			at = func(i, j int) *float32 { return &dst[j*f.Columns+i] }
		}
		for i := range vectors {
			v := make([]float64, max(f.Rows, f.Columns))
			for j := range v {
				v[j] = float64(*at(i, j))
			}
			for range 2 {
				for _, u := range vectors[:i] {
					add(v, u, -dot(v, u))
				}
			}
			length := math.Sqrt(dot(v, v))
			for j := range v {
				v[j] /= length
				*at(i, j) = float32(v[j])
			}
			vectors[i] = v
		}
	}
	return nil
}

func dot(x, y []float64) (sum float64) {
	for i, v := range x {
		sum += v * y[i]
	}
	return sum
}

func add(x, y []float64, factor float64) {
	for i, v := range y {
		x[i] += factor * v
	}
}
