package op

import (
	"fmt"
	"math"

	"tandem/graph"
	"tandem/tensor"
)

// signalType is the attribute output_datatype.
func signalType(a graph.Attrs) (tensor.DType, error) {
	n := a.Int("output_datatype", int(tensor.Float32))
	if d := tensor.DType(n); n > 0 && n < 64 && (computable(d)) {
		return d, nil
	}
	return 0, fmt.Errorf("output_datatype %d is not a numeric type", n)
}

// inferSignalWindow: (size) -> [size].
func inferSignalWindow(c *graph.Infer) error {
	if err := c.Require(1, 1); err != nil {
		return err
	}
	d, err := signalType(c.Node.Attrs)
	if err != nil {
		return err
	}
	size := graph.Dim{}
	if content, ok := c.Content(0); ok && len(content) == 1 {
		size = content[0]
	} else {
		n, err := scalarInt(c, 0, 0)
		if err != nil {
			return err
		}
		size = graph.Const(n)
	}
	if n, ok := size.Value(); ok && (n < 0 || n > maxSignal) {
		return fmt.Errorf("a window of %d elements", n)
	}
	c.Out(0, d, graph.Shape{size})
	return nil
}

// kernelSignalWindow: a - b·cos(2πi/n) + c·cos(4πi/n), where n is the size, less
// one unless periodic.
func kernelSignalWindow(a0, a1, a2 float64) graph.Kernel {
	return func(c *graph.Call) (func() error, error) {
		y := c.Out[0]
		n := y.Len()
		if c.Node.Attrs.Int("periodic", 1) == 0 {
			n--
		}
		w, err := graph.Room[float64](c, y.Len())
		if err != nil {
			return nil, err
		}
		for i := range w {
			t := 2 * math.Pi * float64(i) / float64(max(n, 1))
			w[i] = a0 - a1*math.Cos(t) + a2*math.Cos(2*t)
		}
		return func() error { return tensor.Convert(y, tensor.Of(w, len(w)), false) }, nil
	}
}

// inferMelWeights: (num_mel_bins, dft_length, sample_rate, lower_edge_hertz,
// upper_edge_hertz) -> [dft_length/2 + 1, num_mel_bins].
func inferMelWeights(c *graph.Infer) error {
	if err := c.Require(5, 5); err != nil {
		return err
	}
	d, err := signalType(c.Node.Attrs)
	if err != nil {
		return err
	}
	if t := c.In(2); t.DType != tensor.Int32 && t.DType != tensor.Int64 {
		return fmt.Errorf("the sample rate is %v, expected an integer", t.DType)
	}
	if err := floats(c, 3, 4); err != nil {
		return err
	}
	for i := 2; i < 5; i++ {
		if err := c.Same(c.In(i).Shape.Len(), graph.Const(1), fmt.Sprintf("elements of input %d", i)); err != nil {
			return err
		}
	}
	bins, err := scalarInt(c, 0, 1)
	if err != nil {
		return err
	}
	length, err := scalarInt(c, 1, 1)
	if err != nil {
		return err
	}
	c.Out(0, d, graph.Dims(length/2+1, bins))
	return nil
}

func kernelMelWeights(c *graph.Call) (func() error, error) {
	y := c.Out[0]
	w, err := graph.Room[float64](c, y.Len())
	if err != nil {
		return nil, err
	}
	return func() error {
		length, rate := intAt(c.In[1]), float64(intAt(c.In[2]))
		lower, upper := float64(smallFloats(c.In[3])[0]), float64(smallFloats(c.In[4])[0])
		if !(rate > 0) || !(lower >= 0) || !(upper > lower) {
			return fmt.Errorf("sample rate %v, edges %v and %v Hz: positive and ascending numbers expected", rate, lower, upper)
		}
		bin := func(f float64) int { return int(min(math.Floor(float64(length+1)*f/rate), 1<<40)) }
		melWeights(w, y.Dim(0), y.Dim(1), bin, lower, upper)
		return tensor.Convert(y, tensor.Of(w, y.Shape()...), false)
	}, nil
}

// melWeights fills w [spectrum][bins] with triangles between bins that are equally
// spaced in mel; bin finds the place of a frequency in the spectrum. What lies
// beyond the spectrum is left out.
func melWeights(w []float64, spectrum, bins int, bin func(hertz float64) int, lower, upper float64) {
	mel := func(f float64) float64 { return 2595 * math.Log10(1+f/700) }
	low := mel(lower)
	step := (mel(upper) - low) / float64(bins+2)
	edge := func(i int) int {
		return bin(700 * math.Expm1((low+float64(i)*step)/2595*math.Ln10))
	}
	clear(w)
	set := func(j, i int, v float64) {
		if j >= 0 && j < spectrum {
			w[j*bins+i] = v
		}
	}
	for i := range bins {
		left, centre, right := edge(i), edge(i+1), edge(i+2)
		if left == centre {
			set(centre, i, 1)
		}
		for j := left; j <= min(centre, spectrum) && left < centre; j++ {
			set(j, i, float64(j-left)/float64(centre-left))
		}
		for j := centre; j < min(right, spectrum); j++ {
			set(j, i, float64(right-j)/float64(right-centre))
		}
	}
}
