package op

import (
	"fmt"
	"math"
	"math/rand/v2"

	"tandem/graph"
	"tandem/tensor"
)

// randomOps draw numbers. With a seed every run gives the same; without one every
// run gives others.
func randomOps() []graph.Op {
	uniform := func(a graph.Attrs) func(*mersenne) float64 {
		low, high := float64(a.Float("low", 0)), float64(a.Float("high", 1))
		return func(m *mersenne) float64 { return low + (high-low)*m.uniform() }
	}
	normal := func(a graph.Attrs) func(*mersenne) float64 {
		mean, scale := float64(a.Float("mean", 0)), float64(a.Float("scale", 1))
		return func(m *mersenne) float64 { return mean + scale*m.normal() }
	}
	return []graph.Op{
		{ID: onnx("RandomUniform"), Since: 1, Infer: inferRandom, Kernel: kernelRandom(uniform), Random: true, Flat: true},
		{ID: onnx("RandomNormal"), Since: 1, Infer: inferRandom, Kernel: kernelRandom(normal), Random: true, Flat: true},
		{ID: onnx("RandomUniformLike"), Since: 1, Infer: inferRandomLike, Kernel: kernelRandom(uniform), Random: true, Flat: true},
		{ID: onnx("RandomNormalLike"), Since: 1, Infer: inferRandomLike, Kernel: kernelRandom(normal), Random: true, Flat: true},
		{ID: onnx("Bernoulli"), Since: 15, Infer: inferBernoulli, Kernel: kernelBernoulli, Random: true},
		{ID: onnx("Multinomial"), Since: 7, Infer: inferMultinomial, Kernel: kernelMultinomial, Random: true},
	}
}

// generatorOf begins the stream of a run. Seeds of ONNX are floats.
func generatorOf(a graph.Attrs) *mersenne {
	switch seed := a["seed"].(type) {
	case float32:
		return newMersenne(uint32(int64(seed)))
	case int64:
		return newMersenne(uint32(seed))
	}
	return newMersenne(rand.Uint32())
}

func inferRandom(c *graph.Infer) error {
	if err := c.Require(0, 0); err != nil {
		return err
	}
	if _, ok := c.Node.Attrs["shape"]; !ok {
		return fmt.Errorf("the attribute shape is missing")
	}
	shape := tensor.Shape(c.Node.Attrs.Ints("shape"))
	if _, err := shape.CheckedLen(1 << 46); err != nil {
		return err
	}
	return outRandom(c, tensor.Float32, graph.Dims(shape...))
}

// inferRandomLike: the type is that of the input where no other is asked for.
func inferRandomLike(c *graph.Infer) error {
	if err := c.Require(1, 1); err != nil {
		return err
	}
	def := c.In(0).DType
	if !fullFloat(def) {
		def = tensor.Float32
	}
	return outRandom(c, def, c.In(0).Shape)
}

func outRandom(c *graph.Infer, def tensor.DType, shape graph.Shape) error {
	d := tensor.DType(c.Node.Attrs.Int("dtype", int(def)))
	if !fullFloat(d) {
		return fmt.Errorf("dtype %v is not a floating-point type", d)
	}
	c.Out(0, d, shape)
	return nil
}

func kernelRandom(draw func(graph.Attrs) func(*mersenne) float64) graph.Kernel {
	return func(c *graph.Call) (func() error, error) {
		next := draw(c.Node.Attrs)
		return func() error {
			m := generatorOf(c.Node.Attrs)
			return fillNumbers(c, 0, func(int) float64 { return next(m) })
		}, nil
	}
}

// fillNumbers sets every element of an output, of any type that holds numbers.
func fillNumbers(c *graph.Call, out int, next func(i int) float64) error {
	t := c.Out[out]
	wide, err := graph.Room[float64](c, t.Len())
	if err != nil {
		return err
	}
	for i := range wide {
		wide[i] = next(i)
	}
	return tensor.Convert(t, tensor.Of(wide, t.Shape()...), false)
}

func inferBernoulli(c *graph.Infer) error {
	if err := c.Require(1, 1); err != nil {
		return err
	}
	if err := floats(c, 0); err != nil {
		return err
	}
	d := tensor.DType(c.Node.Attrs.Int("dtype", int(c.In(0).DType)))
	if err := reducible("Bernoulli", d); err != nil && d != tensor.Bool {
		return fmt.Errorf("dtype %v is not a type of numbers", d)
	}
	c.Out(0, d, c.In(0).Shape)
	return nil
}

// kernelBernoulli gives 1 with the probability that the input holds. One number is
// drawn for each element; like numpy's, it counts from the rarer side.
func kernelBernoulli(c *graph.Call) (func() error, error) {
	p, err := graph.Room[float32](c, c.In[0].Len())
	if err != nil {
		return nil, err
	}
	return func() error {
		m := generatorOf(c.Node.Attrs)
		tensor.Float32s(p, c.In[0])
		for i, v := range p {
			if !(v >= 0 && v <= 1) {
				return fmt.Errorf("element %d is %v, not a probability", i, v)
			}
		}
		return fillNumbers(c, 0, func(i int) float64 {
			v, u := float64(p[i]), m.uniform()
			if v > 0.5 && u <= v || v <= 0.5 && u > 1-v {
				return 1
			}
			return 0
		})
	}, nil
}

// inferMultinomial: (log probabilities [n, classes]) -> draws [n, sample_size].
func inferMultinomial(c *graph.Infer) error {
	if err := c.Require(1, 1); err != nil {
		return err
	}
	if err := floats(c, 0); err != nil {
		return err
	}
	if err := c.Rank(0, 2); err != nil {
		return err
	}
	d, samples := tensor.DType(c.Node.Attrs.Int("dtype", int(tensor.Int32))), c.Node.Attrs.Int("sample_size", 1)
	if d != tensor.Int32 && d != tensor.Int64 {
		return fmt.Errorf("dtype %v is not int32 or int64", d)
	}
	if samples < 1 {
		return fmt.Errorf("sample_size is %d", samples)
	}
	c.Out(0, d, graph.Shape{c.In(0).Shape[0], graph.Const(samples)})
	return nil
}

func kernelMultinomial(c *graph.Call) (func() error, error) {
	rows, classes := matrix(c)
	if classes == 0 && rows > 0 {
		return nil, fmt.Errorf("there are no classes to draw from")
	}
	logs, err := graph.Room[float32](c, rows*classes)
	if err != nil {
		return nil, err
	}
	sums, err := graph.Room[float64](c, classes)
	if err != nil {
		return nil, err
	}
	samples := c.Out[0].Dim(1)
	return func() error {
		m := generatorOf(c.Node.Attrs)
		tensor.Float32s(logs, c.In[0])
		row := -1
		return fillNumbers(c, 0, func(i int) float64 {
			if i/samples != row {
				row = i / samples
				cumulate(sums, logs[row*classes:][:classes])
			}
			u := m.uniform() * sums[classes-1]
			for class, s := range sums {
				if u < s {
					return float64(class)
				}
			}
			return float64(classes - 1)
		})
	}, nil
}

// cumulate sums up the powers of logarithms, shifted by the greatest.
func cumulate(sums []float64, logs []float32) {
	top, total := float32(math.Inf(-1)), 0.0
	for _, v := range logs {
		top = max(top, v)
	}
	for i, v := range logs {
		total += math.Exp(float64(v - top))
		sums[i] = total
	}
}
