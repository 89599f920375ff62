package op

import (
	"fmt"
	"math"

	"tandem/graph"
	"tandem/graph/op/narrow"
	"tandem/tensor"
)

// The operators that onnxruntime's quantiser writes in place of operators on floats: the
// quantized operands are made floats, the kernel on floats runs, and its result is
// rounded to steps of the output's scale.

func qLinearOps() []graph.Op {
	one := func(slots ...quantizedInput) func(*graph.Node) scales {
		last := len(slots) - 1
		return func(*graph.Node) scales { return scales{slots[:last], slots[last]} }
	}
	unary := one(quantizedInput{0, 1, 2}, quantizedInput{0, 3, 4})
	where := one(plainInput(0), quantizedInput{1, 2, 3}, quantizedInput{4, 5, 6}, quantizedInput{1, 7, 8})
	average := byLayout(floating(kernelAveragePool[float32], kernelAveragePool[float64]), kernelPoolLast(true))
	global := byLayout(floating(kernelGlobalAverage[float32], kernelGlobalAverage[float64]), kernelMeanLast)
	define := func(name string, s func(*graph.Node) scales, shape func(*graph.Infer, scales) (graph.Shape, error), k graph.Kernel) graph.Op {
		return graph.Op{ID: microsoft(name), Since: 1, Infer: inferScaled(s, shape), Kernel: scaledKernel(s, k)}
	}
	return []graph.Op{
		define("QLinearSigmoid", unary, likeFirst, kernelEach(func(_ *graph.Node, x float64) float64 { return sigmoid(x) })),
		define("QLinearLeakyRelu", unary, likeFirst, kernelEach(func(n *graph.Node, x float64) float64 { return leaky(x, float64(n.Attrs.Float("alpha", 0.01))) })),
		define("QLinearSoftmax", unary, likeFirst, kernelQSoftmax),
		define("QLinearAveragePool", unary, qPoolShape(poolShape, poolLastShape), average),
		define("QLinearGlobalAveragePool", unary, qPoolShape(globalShape, meanLastShape), global),
		{ID: microsoft("NhwcMaxPool"), Since: 1, Infer: inferNhwcMaxPool, Kernel: kernelPoolLast(false)},
		define("QLinearWhere", where, qWhereShape, kernelWhere),
		define("QLinearConcat", qConcatScales, qConcatShape, kernelConcat),
		{ID: microsoft("QGemm"), Since: 1, Infer: inferQGemm, Kernel: kernelQGemm, Work: workProduct, Encoded: true, Panels: qGemmPanels},
		{ID: microsoft("QEmbedLayerNormalization"), Since: 1, Infer: inferQEmbedNorm, Kernel: scaledKernel(qEmbedScales, kernelEmbedNorm[float32])},
		{ID: microsoft("QAttention"), Since: 1, Infer: inferQAttention, Kernel: kernelQAttention},
	}
}

// quantizedInput are the places of a quantized tensor, its scale and its zero point among a
// node's inputs. Of an output, x is the input whose type it has.
type quantizedInput struct{ x, scale, zero int }

// plainInput is an input that the kernel sees as it is.
func plainInput(i int) quantizedInput { return quantizedInput{i, -1, -1} }

// scales tell what the kernel on floats sees: its inputs in order, and the output, which
// is plain where no scale is given.
type scales struct {
	in  []quantizedInput
	out quantizedInput
}

// inferScaled checks the quantized operands, of which each has one scale; the output has
// their type.
func inferScaled(of func(*graph.Node) scales, shape func(*graph.Infer, scales) (graph.Shape, error)) func(*graph.Infer) error {
	return func(c *graph.Infer) error {
		s := of(c.Node)
		for _, o := range append([]quantizedInput{s.out}, s.in...) {
			if err := checkScaled(c, o, s.out.x); err != nil {
				return err
			}
		}
		out, err := shape(c, s)
		if err == nil {
			c.Out(0, c.In(s.out.x).DType, out)
		}
		return err
	}
}

// checkScaled checks one operand, which must have the type of the input first.
func checkScaled(c *graph.Infer, o quantizedInput, first int) error {
	if !c.Has(o.x) || o.scale >= 0 && !c.Has(o.scale) {
		return fmt.Errorf("input %d or %d is missing", o.x, o.scale)
	}
	if o.scale < 0 {
		return nil
	}
	if err := typed(c, isByte, first, o.x); err != nil {
		return err
	}
	if err := alike(c, first, o.zero); o.zero < len(c.Node.Inputs) && err != nil {
		return err
	}
	if err := c.Floats(o.scale); err != nil {
		return err
	}
	for _, i := range []int{o.scale, o.zero} {
		if c.Has(i) {
			if err := c.Same(c.In(i).Shape.Len(), graph.Const(1), "numbers of a scale or a zero point"); err != nil {
				return err
			}
		}
	}
	return nil
}

// scaledKernel lets a kernel on floats see the numbers in place of the quantized operands.
func scaledKernel(of func(*graph.Node) scales, k graph.Kernel) graph.Kernel {
	return func(c *graph.Call) (func() error, error) {
		in, out, s := c.In, c.Out, of(c.Node)
		c.In, c.Out = nil, append([]*tensor.Tensor(nil), out...)
		var wide []narrow.Pair
		var steps []quantizedInput
		total := 0
		floats := func(like *tensor.Tensor, o quantizedInput) *tensor.Tensor {
			p := narrow.PairOf(like, tensor.Float32)
			wide, steps, total = append(wide, p), append(steps, o), total+p.Bytes()
			return p.Wide
		}
		for _, o := range s.in {
			x := inputAt(in, o.x)
			if o.scale >= 0 && x != nil {
				x = floats(x, o)
			}
			c.In = append(c.In, x)
		}
		operands := len(wide)
		if s.out.scale >= 0 {
			c.Out[0] = floats(out[0], s.out)
		}
		c.ReserveExtra(total)
		run, err := k(c)
		return func() error {
			narrow.Place(c.Extra(), wide)
			for i, p := range wide[:operands] {
				fromSteps(p.Wide.F32(), p.Graph, inputAt(in, steps[i].scale), inputAt(in, steps[i].zero))
			}
			if err := run(); err != nil {
				return err
			}
			for _, p := range wide[operands:] {
				toSteps(p.Graph, p.Wide.F32(), inputAt(in, s.out.scale), inputAt(in, s.out.zero))
			}
			return nil
		}, err
	}
}

// inputAt is the i-th of the inputs, or nil.
func inputAt(in []*tensor.Tensor, i int) *tensor.Tensor {
	if i < 0 || i >= len(in) {
		return nil
	}
	return in[i]
}

// zeroNumber is a zero point, which may be absent.
func zeroNumber(t *tensor.Tensor) (z [1]float32) {
	if t != nil {
		tensor.Float32s(z[:], t)
	}
	return z
}

func fromSteps(y []float32, x, scale, zero *tensor.Tensor) {
	tensor.Float32s(y, x)
	s, z := scale.F32()[0], zeroNumber(zero)[0]
	for i, v := range y {
		y[i] = (v - z) * s
	}
}

// toSteps rounds x, which it overwrites.
func toSteps(y *tensor.Tensor, x []float32, scale, zero *tensor.Tensor) {
	s, z := scale.F32()[0], float64(zeroNumber(zero)[0])
	lo, hi := numberRange(y.DType())
	for i, v := range x {
		x[i] = float32(min(max(math.RoundToEven(float64(v/s))+z, lo), hi))
	}
	tensor.SetFloat32s(y, x)
}

func kernelEach(f func(n *graph.Node, x float64) float64) graph.Kernel {
	return func(c *graph.Call) (func() error, error) {
		return func() error {
			y := c.Out[0].F32()
			for i, x := range c.F32(0) {
				y[i] = float32(f(c.Node, float64(x)))
			}
			return nil
		}, nil
	}
}

// kernelQSoftmax: the attribute opset says of which Softmax this is the form.
func kernelQSoftmax(c *graph.Call) (func() error, error) {
	if c.Node.Attrs.Int("opset", 1) < 13 {
		return kernelSoftmax(softmaxView{axis: 1, flat: true}, false)(c)
	}
	return kernelSoftmax(softmaxView{axis: -1}, false)(c)
}

func likeFirst(c *graph.Infer, _ scales) (graph.Shape, error) { return c.In(0).Shape, nil }

// qPoolShape is the rule of the one layout or the other.
func qPoolShape(first, last func(*graph.Infer) (graph.Shape, error)) func(*graph.Infer, scales) (graph.Shape, error) {
	return func(c *graph.Infer, _ scales) (graph.Shape, error) {
		if channelsLast(c.Node) {
			return last(c)
		}
		return first(c)
	}
}

func channelsLast(n *graph.Node) bool { return n.Attrs.Int("channels_last", 0) != 0 }

// byLayout is the kernel for channels in dimension 1, or that for the last.
func byLayout(first, last graph.Kernel) graph.Kernel {
	return func(c *graph.Call) (func() error, error) {
		if channelsLast(c.Node) {
			return last(c)
		}
		return first(c)
	}
}

// inferNhwcMaxPool is MaxPool on bytes whose channels come last.
func inferNhwcMaxPool(c *graph.Infer) error {
	if err := c.Require(1, 1); err != nil {
		return err
	}
	if err := typed(c, isByte, 0); err != nil {
		return err
	}
	return inferPoolLast(c)
}

func qWhereShape(c *graph.Infer, _ scales) (graph.Shape, error) {
	if c.In(0).DType != tensor.Bool {
		return nil, fmt.Errorf("input 0 (%s) is %v, expected bool", c.Node.Inputs[0].Name, c.In(0).DType)
	}
	shape, err := graph.Broadcast(c.In(0).Shape, c.In(1).Shape)
	if err != nil {
		return nil, err
	}
	return graph.Broadcast(shape, c.In(4).Shape)
}

// qConcatScales: the output's scale and zero point, then three inputs for each operand.
func qConcatScales(n *graph.Node) scales {
	s := scales{out: quantizedInput{2, 0, 1}}
	for i := 2; i < len(n.Inputs); i += 3 {
		s.in = append(s.in, quantizedInput{i, i + 1, i + 2})
	}
	return s
}

func qConcatShape(c *graph.Infer, s scales) (graph.Shape, error) {
	if len(s.in) == 0 {
		return nil, fmt.Errorf("there is nothing to put together")
	}
	var shapes []graph.Shape
	for _, o := range s.in {
		shapes = append(shapes, c.In(o.x).Shape)
	}
	return concatShape(c, shapes)
}

// qEmbedScales: the inputs of EmbedLayerNormalization; the output is not quantized.
func qEmbedScales(*graph.Node) scales {
	return scales{
		in:  []quantizedInput{plainInput(0), plainInput(1), {2, 8, 13}, {3, 9, 14}, {4, 10, 15}, {5, 11, 16}, {6, 12, 17}, plainInput(7)},
		out: plainInput(2),
	}
}

func inferQEmbedNorm(c *graph.Infer) error {
	if err := c.Require(1, 18); err != nil {
		return err
	}
	for _, o := range qEmbedScales(c.Node).in {
		if o.scale < 0 || o.x == embedSegmentTable && !c.Has(o.x) {
			continue
		}
		if err := checkScaled(c, o, embedWordTable); err != nil {
			return err
		}
	}
	return inferEmbedding(c, tensor.Float32)
}
