package op

import (
	"fmt"
	"math"

	"tandem/graph"
	"tandem/tensor"
)

// groupGradOps: (dy, x, scale) -> dx, dscale, dbias; attributes num_groups, epsilon.
func groupGradOps() []graph.Op {
	return []graph.Op{{ID: private("GroupNormGrad"), Infer: inferGroupNormGrad, Kernel: kernelGroupNormGrad}}
}

func gradGroupNorm(g *graph.Gradient) error {
	g.SetNeeded(g.Builder.Node(private("GroupNormGrad"), 3, g.Node.Attrs, g.Out(0), g.In(0), g.In(1))...)
	return nil
}

func inferGroupNormGrad(c *graph.Infer) error {
	c.Out(0, tensor.Float32, c.In(1).Shape)
	c.Out(1, tensor.Float32, c.In(2).Shape)
	c.Out(2, tensor.Float32, c.In(2).Shape)
	return c.Floats(0, 1, 2)
}

// groupGrad goes back through the normalisation of one group of one example. With
// x̂ = (x-mean)/deviation and d = dy·scale, dx = (d - mean(d) - x̂·mean(d·x̂))/deviation.
type groupGrad struct {
	lines
	groups, width, per int // width channels a group; per channels an element of scale
	epsilon            float64
	dy, x, scale, dx   []float32
	sums               []float64 // by example and channel: Σ dy·x̂, Σ dy
}

func kernelGroupNormGrad(c *graph.Call) (func() error, error) {
	k := &groupGrad{lines: linesAlong(c.In[1].Shape(), 1), epsilon: float64(c.Node.Attrs.Float("epsilon", 1e-5))}
	k.groups = c.Node.Attrs.Int("num_groups", k.n)
	if k.groups < 1 || k.n%k.groups != 0 || c.In[2].Len() == 0 || k.n%c.In[2].Len() != 0 {
		return nil, fmt.Errorf("%d channels cannot be put into %d groups with %d scales", k.n, k.groups, c.In[2].Len())
	}
	k.width, k.per = k.n/k.groups, k.n/c.In[2].Len()
	var err error
	if k.sums, err = graph.Room[float64](c, 2*k.outer*k.n); err != nil {
		return nil, err
	}
	body := func(lo, hi, _ int) {
		for i := lo; i < hi; i++ {
			k.group(i)
		}
	}
	return func() error {
		k.dy, k.x, k.scale, k.dx = c.F32(0), c.F32(1), c.F32(2), c.Out[0].F32()
		c.Pool.For(k.outer*k.groups, max(1, (1<<14)/max(1, k.width*k.inner)), body)
		dscale, dbias := c.Out[1].F32(), c.Out[2].F32()
		for i := range dscale {
			ds, db := 0.0, 0.0
			for n := range k.outer {
				for ch := i * k.per; ch < (i+1)*k.per; ch++ {
					ds, db = ds+k.sums[2*(n*k.n+ch)], db+k.sums[2*(n*k.n+ch)+1]
				}
			}
			dscale[i], dbias[i] = float32(ds), float32(db)
		}
		return nil
	}, nil
}

func (k *groupGrad) group(i int) {
	size := k.width * k.inner
	x, dy, dx := k.x[i*size:][:size], k.dy[i*size:][:size], k.dx[i*size:][:size]
	mean, variance := moments(x)
	inverse := 1 / math.Sqrt(variance+k.epsilon)
	sum, dot := 0.0, 0.0 // of d, and of d·x̂
	for ch := range k.width {
		channel := i%k.groups*k.width + ch
		ds, db := 0.0, 0.0
		for j := ch * k.inner; j < (ch+1)*k.inner; j++ {
			ds += float64(dy[j]) * (float64(x[j]) - mean) * inverse
			db += float64(dy[j])
		}
		at := 2 * (i/k.groups*k.n + channel)
		k.sums[at], k.sums[at+1] = ds, db
		scale := float64(k.scale[channel/k.per])
		sum, dot = sum+scale*db, dot+scale*ds
	}
	sum, dot = sum/float64(size), dot/float64(size)
	for ch := range k.width {
		scale := float64(k.scale[(i%k.groups*k.width+ch)/k.per])
		for j := ch * k.inner; j < (ch+1)*k.inner; j++ {
			dx[j] = float32((float64(dy[j])*scale - sum - (float64(x[j])-mean)*inverse*dot) * inverse)
		}
	}
}
