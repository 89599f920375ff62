package op

import (
	"math"

	"tandem/graph"
	"tandem/graph/op/move"
	"tandem/kernel"
	"tandem/tensor"
)

// axisTaps say, for each index along an output axis, from which indices of the input
// it is made and with which weights.
type axisTaps struct {
	n       int       // of taps for one index
	index   []int     // n for each index of the output
	weight  []float64 // likewise
	outside []bool    // by index of the output: the extrapolation value; nil for none
}

// taps of an axis that is resized from in to out.
func (m resizeMode) taps(in, out int, scale float64, roi [2]float64) *axisTaps {
	t := &axisTaps{}
	for i := range out {
		x := m.source(float64(i), in, out, scale, roi)
		if m.coordinate == "tf_crop_and_resize" {
			t.outside = append(t.outside, x < 0 || x > float64(in-1))
		}
		if m.mode == "nearest" {
			t.n = 1
			t.index = append(t.index, min(max(m.nearestTo(x), 0), in-1))
			continue
		}
		// At a whole number the window ends there: the ratio is in (0, 1].
		floor := math.Ceil(x) - 1
		weights := m.weights(x-floor, scale)
		t.n = len(weights)
		t.add(int(floor)-t.n/2+1, in, weights, m.exclude)
	}
	return t
}

// add appends the taps of one index, the first of which is at first.
func (t *axisTaps) add(first, in int, weights []float64, exclude bool) {
	sum := 0.0
	for i := range weights {
		at := first + i
		if exclude && (at < 0 || at >= in) {
			weights[i] = 0
		}
		sum += weights[i]
		t.index = append(t.index, min(max(at, 0), in-1))
	}
	if exclude && sum != 0 {
		for i := range weights {
			weights[i] /= sum
		}
	}
	t.weight = append(t.weight, weights...)
}

// source is the coordinate in the input of an index in the output (ONNX, Resize,
// coordinate_transformation_mode). The length that the scale gives need not be a
// whole number.
func (m resizeMode) source(x float64, in, out int, scale float64, roi [2]float64) float64 {
	length, last := scale*float64(in), float64(in-1)
	switch m.coordinate {
	case "align_corners":
		if length == 1 {
			return 0
		}
		return x * last / (length - 1)
	case "asymmetric":
		return x / scale
	case "tf_half_pixel_for_nn":
		return (x + 0.5) / scale
	case "tf_crop_and_resize":
		if length == 1 {
			return (roi[1]-roi[0])*last/2 + roi[0]*last
		}
		return x*(roi[1]-roi[0])*last/(length-1) + roi[0]*last
	case "pytorch_half_pixel":
		if length == 1 {
			return -0.5
		}
	case "half_pixel_symmetric":
		offset := float64(in) / 2 * (1 - float64(out)/length)
		return offset + (x+0.5)/scale - 0.5
	}
	return (x+0.5)/scale - 0.5
}

// nearestTo rounds a coordinate.
func (m resizeMode) nearestTo(x float64) int {
	switch m.nearest {
	case "floor":
		return int(math.Floor(x))
	case "ceil":
		return int(math.Ceil(x))
	case "round_prefer_ceil":
		return int(math.Floor(x + 0.5))
	}
	return int(math.Ceil(x - 0.5))
}

// weights are those of the taps around a coordinate that lies ratio behind the
// middle pair's first. With antialias the window widens as the scale shrinks.
func (m resizeMode) weights(ratio, scale float64) []float64 {
	kernel, reach := triangle, 1.0
	if m.mode == "cubic" {
		kernel, reach = m.cubic, 2.0
	}
	if m.antialias {
		scale = min(scale, 1)
	} else {
		scale = 1
	}
	first := int(math.Floor(-reach/scale)) + 1
	weights := make([]float64, 2-2*first)
	sum := 0.0
	for i := range weights {
		weights[i] = kernel((float64(first+i) - ratio) * scale)
		sum += weights[i]
	}
	if m.antialias && sum != 0 {
		for i := range weights {
			weights[i] /= sum
		}
	}
	return weights
}

func triangle(x float64) float64 { return max(1-math.Abs(x), 0) }

// cubic is the convolution kernel of Keys ("Cubic convolution interpolation for
// digital image processing", 1981).
func (m resizeMode) cubic(x float64) float64 { return cubicKernel(m.a, x) }

func cubicKernel(a, x float64) float64 {
	x = math.Abs(x)
	switch {
	case x <= 1:
		return ((a+2)*x-(a+3))*x*x + 1
	case x < 2:
		return ((a*x-5*a)*x+8*a)*x - 4*a
	}
	return 0
}

// nearestKernel moves elements, of whatever type.
func nearestKernel(c *graph.Call, m resizeMode) (func([]*axisTaps) (func(), error), error) {
	elements, err := move.Of(c.In[0].DType())
	if err != nil {
		return nil, err
	}
	var value *tensor.Tensor
	if d := c.In[0].DType(); d.Numeric() {
		value = tensor.New(d, 1)
		if err := tensor.Convert(value, tensor.Of([]float64{m.extrapolation}, 1), true); err != nil {
			return nil, err
		}
	}
	in, out := c.In[0].Shape(), c.Out[0].Shape()
	return func(plan []*axisTaps) (func(), error) {
		t := &tables{in: in, out: out, from: make([][]int, len(in)), holes: m.coordinate == "tf_crop_and_resize"}
		for d, p := range plan {
			t.from[d] = count(in[d])
			if p == nil {
				continue
			}
			t.from[d] = append([]int{}, p.index...)
			for i, outside := range p.outside {
				if outside {
					t.from[d][i] = -1
				}
			}
		}
		return func() { t.run(elements, c.Out[0], c.In[0], value) }, nil
	}, nil
}

// interpolation resizes one axis after the other, the last first.
func interpolation[T float32 | float64](c *graph.Call, m resizeMode) func([]*axisTaps) (func(), error) {
	in, out := c.In[0].Shape(), c.Out[0].Shape()
	return func(plan []*axisTaps) (_ func(), err error) {
		var passes []resizePass[T]
		shape := append([]int{}, in...)
		for d := len(plan) - 1; d >= 0; d-- {
			if plan[d] == nil {
				continue
			}
			p := resizePass[T]{taps: plan[d], to: out[d], extrapolation: T(m.extrapolation)}
			p.outer, p.from, p.inner = around(shape, d)
			shape[d] = out[d]
			passes = append(passes, p)
		}
		for i := range len(passes) - 1 { // the last writes the output, which is known when it runs
			p := &passes[i]
			if p.room, err = graph.Room[T](c, p.outer*p.to*p.inner); err != nil {
				return nil, err
			}
		}
		return func() {
			src, y := tensor.Data[T](c.In[0]), tensor.Data[T](c.Out[0])
			for i := range passes {
				dst := passes[i].room
				if dst == nil {
					dst = y
				}
				passes[i].run(c.Pool, dst, src)
				src = dst
			}
			if len(passes) == 0 {
				copy(y, src)
			}
		}, nil
	}
}

// resizePass resizes one axis of a tensor that is seen as outer × from × inner.
type resizePass[T float32 | float64] struct {
	taps                   *axisTaps
	outer, from, to, inner int
	extrapolation          T
	dst                    []T
	room                   []T // dst, unless that is the output
	src                    []T
	body                   func(lo, hi, worker int)
}

func (p *resizePass[T]) run(pool *kernel.Pool, dst, src []T) {
	in, out := p.from*p.inner, p.to*p.inner
	p.dst, p.src = dst, src
	if p.body == nil {
		p.body = func(lo, hi, _ int) {
			for o := lo; o < hi; o++ {
				applyTaps(p.taps, p.dst[o*out:][:out], p.src[o*in:][:in], p.inner, p.extrapolation)
			}
		}
	}
	pool.For(p.outer, 1+4096/(1+out*p.taps.n), p.body)
}

// applyTaps computes one slice of an axis.
func applyTaps[T float32 | float64](p *axisTaps, dst, src []T, inner int, extrapolation T) {
	for i := range len(p.index) / max(p.n, 1) {
		row := dst[i*inner:][:inner]
		if p.outside != nil && p.outside[i] {
			for j := range row {
				row[j] = extrapolation
			}
			continue
		}
		clear(row)
		for k := range p.n {
			w, from := T(p.weight[i*p.n+k]), src[p.index[i*p.n+k]*inner:][:inner]
			for j, v := range from {
				row[j] += w * v
			}
		}
	}
}
