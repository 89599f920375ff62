package op

import (
	"math"

	"tandem/graph"
	"tandem/kernel"
	"tandem/tensor"
)

// optimizerKernel makes the kernel of an optimizer that does a step every so many
// runs, where gradients are accumulated in between: attribute every.
func optimizerKernel(step func(c *graph.Call) func(rate float32, step int)) graph.Kernel {
	return func(c *graph.Call) (func() error, error) {
		run := step(c)
		every, n := everyOf(c.Node), len(c.In)
		return func() error {
			if at := c.In[n-1].I64()[0]; at%every == 0 {
				run(c.F32(n - 2)[0], int(at/every))
			}
			return nil
		}, nil
	}
}

// everyOf is how many gradients are accumulated for a step: attribute every.
func everyOf(n *graph.Node) int64 { return int64(max(n.Attrs.Int("every", 1), 1)) }

// lion: Chen et al., "Symbolic Discovery of Optimization Algorithms" (2023).
func lion(c *graph.Call) func(rate float32, step int) {
	a := c.Node.Attrs
	beta1, beta2, decay := a.Float("beta1", 0.9), a.Float("beta2", 0.99), a.Float("weight_decay", 0)
	return func(rate float32, _ int) {
		w, m, g := c.Out[0].F32(), c.Out[1].F32(), c.F32(2)
		keep := 1 - rate*decay
		c.Pool.For(len(w), 1<<14, func(lo, hi, _ int) {
			for i := lo; i < hi; i++ {
				u := beta1*m[i] + (1-beta1)*g[i]
				switch {
				case u > 0:
					w[i] = w[i]*keep - rate
				case u < 0:
					w[i] = w[i]*keep + rate
				default: // 0, or no number, which is to be seen
					w[i] = w[i]*keep + u
				}
				m[i] = beta2*m[i] + (1-beta2)*g[i]
			}
		})
	}
}

// adafactor: Shazeer and Stern, "Adafactor" (2018), in PyTorch's form: no momentum,
// steps relative to the size of the weights. The second moment of a matrix is kept
// as its row and column means; of anything else, element by element in row.
func adafactor(c *graph.Call) func(rate float32, step int) {
	a := c.Node.Attrs
	decay, power := float64(a.Float("weight_decay", 0)), float64(a.Float("beta2_decay", -0.8))
	const smallest, floor = 1.1920928955078125e-7, 1e-3 // eps1, and the least size that steps are relative to
	shape := c.In[0].Shape()
	rows, cols := 1, shape.Len()
	if len(shape) > 1 {
		cols = shape[len(shape)-1]
		rows = shape.Len() / max(cols, 1)
	}
	room := new(tensor.Tensor) // of the run's scratch memory
	c.Reserve(tensor.Float64.ByteLen(shape.Len()))
	return func(rate float32, step int) {
		room.Set(tensor.Float64, shape, c.Scratch())
		scale := tensor.Data[float64](room)
		w, row, col, g := c.Out[0].F32(), c.Out[1].F32(), c.Out[2].F32(), c.F32(3)
		fresh := math.Pow(float64(step), power)
		size := math.Sqrt(sumSquares(w) / float64(len(w)))
		alpha := max(floor, size) * min(float64(rate), 1/math.Sqrt(float64(step)))
		if len(shape) < 2 {
			for i, d := range g {
				row[i] += float32(fresh * (float64(d)*float64(d) - float64(row[i])))
				scale[i] = float64(row[i])
			}
		} else {
			factored(row, col, g, rows, cols, shape[len(shape)-2], fresh, scale)
		}
		total := 0.0
		for i, d := range g {
			scale[i] = float64(d) / math.Sqrt(max(scale[i], smallest*smallest))
			total += scale[i] * scale[i]
		}
		alpha /= max(1, math.Sqrt(total/float64(len(g))))
		for i, u := range scale {
			w[i] = float32(float64(w[i])*(1-float64(rate)*decay) - alpha*u)
		}
	}
}

// factored updates the means of squared gradients of a stack of matrices of height
// rows and sets scale to their product, divided by the mean.
func factored(row, col, g []float32, rows, cols, height int, fresh float64, scale []float64) {
	for first := 0; first < rows; first += height {
		r, c := row[first:][:height], col[first/height*cols:][:cols]
		g, scale := g[first*cols:][:height*cols], scale[first*cols:]
		sums, mean := make([]float64, cols), 0.0
		for i := range r {
			total := 0.0
			for j, d := range g[i*cols:][:cols] {
				total += float64(d) * float64(d)
				sums[j] += float64(d) * float64(d)
			}
			r[i] += float32(fresh * (total/float64(cols) - float64(r[i])))
			mean += float64(r[i]) / float64(height)
		}
		for j := range c {
			c[j] += float32(fresh * (sums[j]/float64(height) - float64(c[j])))
		}
		for i := range r {
			for j := range c {
				scale[i*cols+j] = float64(r[i]) * float64(c[j]) / max(mean, 1.1920928955078125e-7)
			}
		}
	}
}

func sumSquares(x []float32) float64 {
	total := 0.0
	for _, v := range x {
		total += float64(v) * float64(v)
	}
	return total
}

// muon: the momentum of a matrix, made orthogonal by five Newton-Schulz steps
// (Jordan et al., 2024), with the size of step that suits AdamW's rates (Liu et
// al., "Muon is Scalable for LLM Training", 2025).
func muon(c *graph.Call) func(rate float32, step int) {
	a := c.Node.Attrs
	momentum, decay := a.Float("momentum", 0.95), a.Float("weight_decay", 0)
	rows, cols := c.In[0].Dim(0), c.In[0].Dim(1)
	o := newOrthogonal(c.Pool, rows, cols)
	c.Reserve(4 * o.reserve(nil))
	return func(rate float32, _ int) {
		o.reserve(c.ScratchF32())
		w, m, g := c.Out[0].F32(), c.Out[1].F32(), c.F32(2)
		for i, d := range g {
			m[i] += (1 - momentum) * (d - m[i])
			o.x[i] = d + momentum*(m[i]-d)
		}
		o.run()
		size, keep := rate*0.2*float32(math.Sqrt(float64(max(rows, cols)))), 1-rate*decay
		for i, u := range o.x {
			w[i] = w[i]*keep - size*u
		}
	}
}

// orthogonal replaces a matrix x by nearly orthogonal rows, or columns if it has
// fewer: each step is a·x + (b·s + c·s²)·x with s = x·xᵀ, or its mirror image.
type orthogonal struct {
	pool                *kernel.Pool
	rows, cols          int
	gram, square, apply kernel.Gemm
	x, next, s, s2      []float32
	scratch             []float32
}

func newOrthogonal(p *kernel.Pool, rows, cols int) *orthogonal {
	n := min(rows, cols)
	o := &orthogonal{pool: p, rows: rows, cols: cols}
	o.gram = kernel.Gemm{M: n, N: n, K: max(rows, cols), TransB: rows <= cols, TransA: rows > cols}
	o.square = kernel.Gemm{M: n, N: n, K: n}
	o.apply = kernel.Gemm{M: rows, N: cols, K: n}
	return o
}

// reserve divides memory, or says how much of it there must be.
func (o *orthogonal) reserve(memory []float32) int {
	n, all := min(o.rows, o.cols), o.rows*o.cols
	scratch := max(o.gram.ScratchLen(o.pool), o.square.ScratchLen(o.pool), o.apply.ScratchLen(o.pool))
	if memory != nil {
		o.x, o.next = floatsOf(&memory, all), floatsOf(&memory, all)
		o.s, o.s2, o.scratch = floatsOf(&memory, n*n), floatsOf(&memory, n*n), memory
	}
	return 2*all + 2*n*n + scratch
}

func (o *orthogonal) run() {
	const a, b, c = 3.4445, -4.7750, 2.0315
	norm := float32(max(math.Sqrt(sumSquares(o.x)), 1e-7))
	for i := range o.x {
		o.x[i] /= norm
	}
	for range 5 {
		o.gram.A, o.gram.B, o.gram.C = o.x, o.x, o.s
		o.gram.Run(o.pool, o.scratch)
		o.square.A, o.square.B, o.square.C = o.s, o.s, o.s2
		o.square.Run(o.pool, o.scratch)
		for i, v := range o.s {
			o.s[i] = b*v + c*o.s2[i]
		}
		o.apply.A, o.apply.B, o.apply.C = o.s, o.x, o.next
		if o.rows > o.cols {
			o.apply.A, o.apply.B = o.x, o.s
		}
		o.apply.Run(o.pool, o.scratch)
		for i, v := range o.next {
			o.x[i] = a*o.x[i] + v
		}
	}
}

func inferAdafactor(c *graph.Infer) error {
	if err := c.Require(6, 6); err != nil {
		return err
	}
	for i := range 3 {
		c.Out(i, tensor.Float32, c.In(i).Shape)
	}
	return nil
}

// ClipFactor of gradients is min(1, attribute norm / their common norm); sums are
// taken tensor by tensor, in chunks of a fixed size.
func inferClipFactor(c *graph.Infer) error {
	c.Out(0, tensor.Float32, graph.Shape{})
	return nil
}

func kernelClipFactor(c *graph.Call) (func() error, error) {
	const chunk = 1 << 14
	limit, parts := float64(c.Node.Attrs.Float("norm", 1)), 0
	for _, x := range c.In {
		parts += (x.Len() + chunk - 1) / chunk
	}
	sums := make([]float64, parts)
	return func() error {
		first := 0
		for _, t := range c.In {
			x := t.F32()
			n := (len(x) + chunk - 1) / chunk
			c.Pool.For(n, 4, func(lo, hi, _ int) {
				for i := lo; i < hi; i++ {
					part := x[i*chunk : min((i+1)*chunk, len(x))]
					sums[first+i] = sumSquares(part)
				}
			})
			first += n
		}
		total := 0.0
		for _, s := range sums {
			total += s
		}
		c.Out[0].F32()[0] = float32(min(1, limit/(math.Sqrt(total)+1e-6)))
		return nil
	}, nil
}

// Accumulate is (sum, gradient, step) -> (sum, mean): at every n-th step, attribute
// every, the mean over the last n gradients, and the sum starts again.
func inferAccumulate(c *graph.Infer) error {
	c.Out(0, tensor.Float32, c.In(0).Shape)
	c.Out(1, tensor.Float32, c.In(0).Shape)
	return nil
}

func kernelAccumulate(c *graph.Call) (func() error, error) {
	every := everyOf(c.Node)
	return func() error {
		sum, g, mean := c.Out[0].F32(), c.F32(1), c.Out[1].F32()
		last := c.In[2].I64()[0]%every == 0
		c.Pool.For(len(sum), 1<<14, func(lo, hi, _ int) {
			for i := lo; i < hi; i++ {
				if v := sum[i] + g[i]; last {
					mean[i], sum[i] = v/float32(every), 0
				} else {
					sum[i] = v
				}
			}
		})
		return nil
	}, nil
}

// MovingAverage is (average, value, step) -> average·decay + value·(1-decay), where
// decay grows to its attribute from the first updates on. Between two updates, attribute
// every, it stays: the value has not changed, and would count more often than once.
func kernelMovingAverage(c *graph.Call) (func() error, error) {
	decay, every := float64(c.Node.Attrs.Float("decay", 0.999)), everyOf(c.Node)
	return func() error {
		at := c.In[2].I64()[0]
		if at%every != 0 {
			return nil
		}
		y, x, updates := c.Out[0].F32(), c.F32(1), float64(at/every)
		d := float32(min(decay, updates/(10+updates)))
		for i, v := range x {
			y[i] += (1 - d) * (v - y[i])
		}
		return nil
	}, nil
}
