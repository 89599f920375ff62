package op

import (
	"errors"
	"fmt"
	"slices"

	"tandem/graph"
	"tandem/tensor"
)

// signalOps are transforms of signals, and the windows and filters that go with them.
func signalOps() []graph.Op {
	return []graph.Op{
		{ID: onnx("DFT"), Since: 17, Infer: inferDFT, Kernel: floating(kernelDFT[float32](1), kernelDFT[float64](1)), Grad: gradDFT},
		{ID: onnx("DFT"), Since: 20, Infer: inferDFT, Kernel: floating(kernelDFT[float32](-2), kernelDFT[float64](-2)), Grad: gradDFT},
		{ID: onnx("STFT"), Since: 17, Infer: inferSTFT, Kernel: floating(kernelSTFT[float32], kernelSTFT[float64]), Expand: expandSTFT},
		{ID: onnx("HannWindow"), Since: 17, Infer: inferSignalWindow, Kernel: kernelSignalWindow(0.5, 0.5, 0), Flat: true},
		{ID: onnx("HammingWindow"), Since: 17, Infer: inferSignalWindow, Kernel: kernelSignalWindow(25.0/46, 21.0/46, 0), Flat: true},
		{ID: onnx("BlackmanWindow"), Since: 17, Infer: inferSignalWindow, Kernel: kernelSignalWindow(0.42, 0.5, 0.08), Flat: true},
		{ID: onnx("MelWeightMatrix"), Since: 17, Infer: inferMelWeights, Kernel: kernelMelWeights},
	}
}

// maxSignal bounds sizes that come as elements of a tensor.
const maxSignal = 1 << 28

// scalarInt is the one element of an integer input, in numbers.
func scalarInt(c *graph.Infer, i, least int) (int, error) {
	v, err := c.Ints(i)
	if err != nil {
		return 0, err
	}
	if len(v) != 1 || v[0] < least || v[0] > maxSignal {
		return 0, fmt.Errorf("input %d (%s) is %v, expected one number from %d to %d", i, c.Node.Inputs[i].Name, v, least, maxSignal)
	}
	return v[0], nil
}

// intAt is scalarInt while running.
func intAt(t *tensor.Tensor) int {
	if t.DType() == tensor.Int64 {
		return int(t.I64()[0])
	}
	return int(tensor.Data[int32](t)[0])
}

// dftAxis: an attribute before opset 20, an input since then.
func dftAxis(axis, rank int) (int, error) {
	at := axis
	if at < 0 {
		at += rank
	}
	if at < 0 || at >= rank-1 {
		return 0, fmt.Errorf("axis %d is not one of the %d dimensions of the signal", axis, rank-1)
	}
	return at, nil
}

// inferDFT: (x, dft_length, axis); the last dimension is 1 for real numbers, 2
// for complex ones.
func inferDFT(c *graph.Infer) error {
	if err := c.Require(1, 3); err != nil {
		return err
	}
	if err := floats(c, 0); err != nil {
		return err
	}
	x, a := c.In(0).Shape, c.Node.Attrs
	if len(x) < 2 {
		return fmt.Errorf("shape %v: a signal and a last dimension of 1 or 2 expected", x)
	}
	if err := checkComplex(x); err != nil {
		return err
	}
	axis := -2
	if c.Version < 20 {
		axis = a.Int("axis", 1)
	}
	if c.Has(2) && c.Version < 20 {
		return fmt.Errorf("3 inputs, at most 2 expected")
	}
	if c.Has(2) {
		v, err := c.Ints(2)
		if err != nil {
			return err
		}
		if len(v) != 1 {
			return fmt.Errorf("the axis is %v, expected one number", v)
		}
		axis = v[0]
	}
	axis, err := dftAxis(axis, len(x))
	if err != nil {
		return err
	}
	oneSided, inverse := a.Int("onesided", 0) != 0, a.Int("inverse", 0) != 0
	n := x[axis]
	if oneSided && inverse {
		n = n.Sub(graph.Const(1)).Mul(graph.Const(2))
	}
	if c.Has(1) {
		given, err := scalarInt(c, 1, 1)
		if err != nil {
			return err
		}
		n = graph.Const(given)
	}
	if v, ok := n.Value(); ok && v < 1 {
		return fmt.Errorf("a transform of %d numbers", v)
	}
	out := slices.Clone(x)
	out[len(x)-1], out[axis] = graph.Const(2), n
	switch {
	case oneSided && inverse:
		out[len(x)-1] = graph.Const(1)
	case oneSided:
		out[axis] = n.Div(graph.Const(2)).Add(graph.Const(1))
	}
	c.Out(0, c.In(0).DType, out)
	return nil
}

func checkComplex(x graph.Shape) error {
	if n, ok := x[len(x)-1].Value(); ok && n != 1 && n != 2 {
		return fmt.Errorf("shape %v: the last dimension must be 1 (real) or 2 (complex)", x)
	}
	return nil
}

// kernelDFT takes the axis where none is given.
func kernelDFT[T float32 | float64](axis int) graph.Kernel {
	return func(c *graph.Call) (func() error, error) {
		x, y, a := c.In[0], c.Out[0], c.Node.Attrs
		d := &dft[T]{inverse: a.Int("inverse", 0) != 0, xParts: x.Dim(x.Rank() - 1), yParts: y.Dim(y.Rank() - 1)}
		axis := a.Int("axis", axis)
		return func() error {
			if c.Has(2) {
				axis = intAt(c.In[2])
			}
			at, err := dftAxis(axis, x.Rank())
			if err != nil {
				return err
			}
			n := x.Dim(at)
			switch {
			case c.Has(1):
				n = intAt(c.In[1])
			case d.yParts == 1:
				n = y.Dim(at)
			}
			if d.fourier == nil || d.n != n {
				if d.fourier, err = newFourier(c, n); err != nil {
					return err
				}
				if d.line, err = graph.Room[complex128](c, n); err != nil {
					return err
				}
			}
			d.x, d.y = tensor.Data[T](x), tensor.Data[T](y)
			d.in, d.out, d.inner = x.Dim(at), y.Dim(at), x.Shape()[at+1:x.Rank()-1].Len()
			for i := range x.Shape()[:at].Len() * d.inner {
				c.Pool.Look()
				d.one(i/d.inner, i%d.inner)
			}
			return nil
		}, nil
	}
}

// dft transforms along one dimension: x [outer][in][inner][parts].
type dft[T float32 | float64] struct {
	*fourier
	line           []complex128
	inverse        bool
	x, y           []T
	in, out, inner int
	xParts, yParts int
}

func (d *dft[T]) one(outer, inner int) {
	clear(d.line)
	for j := range min(d.in, d.n) {
		at := ((outer*d.in+j)*d.inner + inner) * d.xParts
		d.line[j] = complex(float64(d.x[at]), 0)
		if d.xParts == 2 {
			d.line[j] = complex(float64(d.x[at]), float64(d.x[at+1]))
		}
	}
	if d.yParts == 1 {
		// The other half of a real signal's spectrum is its mirror.
		for j := d.n/2 + 1; j < d.n; j++ {
			v := d.line[d.n-j]
			d.line[j] = complex(real(v), -imag(v))
		}
	}
	if d.inverse {
		d.fourier.inverse(d.line)
	} else {
		d.transform(d.line)
	}
	for j := range d.out {
		at := ((outer*d.out+j)*d.inner + inner) * d.yParts
		d.y[at] = T(real(d.line[j]))
		if d.yParts == 2 {
			d.y[at+1] = T(imag(d.line[j]))
		}
	}
}

// inferSTFT: (signal [batch,length,1 or 2], frame_step, window, frame_length) ->
// [batch,frames,bins,2].
func inferSTFT(c *graph.Infer) error {
	if err := c.Require(2, 4); err != nil {
		return err
	}
	if err := floats(c, 0, 2); err != nil {
		return err
	}
	x := c.In(0).Shape
	switch len(x) {
	case 2: // a real signal without its last dimension
	case 3:
		if err := checkComplex(x); err != nil {
			return err
		}
	default:
		return fmt.Errorf("shape %v: [batch, length, 1 or 2] expected", x)
	}
	step, err := scalarInt(c, 1, 1)
	if err != nil {
		return err
	}
	var length graph.Dim
	switch {
	case c.Has(3):
		n, err := scalarInt(c, 3, 1)
		if err != nil {
			return err
		}
		length = graph.Const(n)
	case c.Has(2):
		length = c.In(2).Shape.Len()
	default:
		return errors.New("neither a window nor a frame_length is given")
	}
	if n, ok := length.Value(); ok && n < 1 {
		return errors.New("a window without elements")
	}
	if c.Has(2) {
		if err := c.Rank(2, 1); err != nil {
			return err
		}
		if err := c.Same(c.In(2).Shape[0], length, "lengths of window and frame"); err != nil {
			return err
		}
	}
	frames := x[1].Sub(length).Div(graph.Const(step)).Add(graph.Const(1))
	if n, ok := frames.Value(); ok && n < 1 {
		return fmt.Errorf("a frame of %v is longer than the signal of %v", length, x[1])
	}
	bins := length
	if c.Node.Attrs.Int("onesided", 1) != 0 {
		bins = length.Div(graph.Const(2)).Add(graph.Const(1))
	}
	c.Out(0, c.In(0).DType, graph.Shape{x[0], frames, bins, graph.Const(2)})
	return nil
}

func kernelSTFT[T float32 | float64](c *graph.Call) (func() error, error) {
	x, y := c.In[0], c.Out[0]
	parts := 1
	if x.Rank() == 3 {
		parts = x.Dim(2)
	}
	var f *fourier
	var line []complex128
	return func() error {
		step, length, window := intAt(c.In[1]), 0, []T(nil)
		if c.Has(2) {
			window = tensor.Data[T](c.In[2])
			length = len(window)
		}
		if c.Has(3) {
			length = intAt(c.In[3])
		}
		if f == nil || f.n != length {
			var err error
			if f, err = newFourier(c, length); err != nil {
				return err
			}
			if line, err = graph.Room[complex128](c, length); err != nil {
				return err
			}
		}
		from, to := tensor.Data[T](x), tensor.Data[T](y)
		frames, bins := y.Dim(1), y.Dim(2)
		for i := range y.Dim(0) * frames {
			signal := from[i/frames*x.Dim(1)*parts:][:x.Dim(1)*parts]
			c.Pool.Look()
			frame(line, signal[i%frames*step*parts:], window, parts)
			f.transform(line)
			for k := range bins {
				to[2*(i*bins+k)], to[2*(i*bins+k)+1] = T(real(line[k])), T(imag(line[k]))
			}
		}
		return nil
	}, nil
}

// frame reads a weighted frame of a signal.
func frame[T float32 | float64](line []complex128, x, window []T, parts int) {
	for j := range line {
		w := 1.0
		if window != nil {
			w = float64(window[j])
		}
		v := complex(float64(x[j*parts]), 0)
		if parts == 2 {
			v = complex(float64(x[j*parts]), float64(x[j*parts+1]))
		}
		line[j] = v * complex(w, 0)
	}
}
