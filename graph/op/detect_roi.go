package op

import (
	"fmt"
	"math"

	"tandem/graph"
	"tandem/tensor"
)

// maxGrid is how many points of a bin RoiAlign samples along one dimension at
// most, so that a foreign box cannot keep a worker for hours.
const maxGrid = 1 << 12

func inferRoiAlign(c *graph.Infer) error {
	if err := c.Require(3, 3); err != nil {
		return err
	}
	if err := floats(c, 0, 1); err != nil {
		return err
	}
	for i, rank := range []int{4, 2, 1} {
		if err := c.Rank(i, rank); err != nil {
			return err
		}
	}
	if err := wantIndices(c, 2); err != nil {
		return err
	}
	a := c.Node.Attrs
	h, w := a.Int("output_height", 1), a.Int("output_width", 1)
	if h < 1 || w < 1 || h > 1<<15 || w > 1<<15 {
		return fmt.Errorf("an output of %d by %d is not possible", h, w)
	}
	if n := a.Int("sampling_ratio", 0); n < 0 || n > maxGrid {
		return fmt.Errorf("sampling_ratio %d is outside [0, %d]", n, maxGrid)
	}
	if mode := a.String("mode", "avg"); mode != "avg" && mode != "max" {
		return fmt.Errorf("mode %q is neither avg nor max", mode)
	}
	x, rois := c.In(0), c.In(1)
	if err := c.Same(rois.Shape[1], graph.Const(4), "numbers of a box"); err != nil {
		return err
	}
	c.Out(0, x.DType, graph.Shape{rois.Shape[0], x.Shape[1], graph.Const(h), graph.Const(w)})
	return c.Same(rois.Shape[0], c.In(2).Shape[0], "numbers of boxes and batch indices")
}

func kernelRoiAlign(halfPixel bool) graph.Kernel {
	return func(c *graph.Call) (func() error, error) {
		half := halfPixel && c.Node.Attrs.String("coordinate_transformation_mode", "half_pixel") == "half_pixel"
		switch c.In[0].DType() {
		case tensor.Float32:
			return roiAlign[float32](c, half), nil
		case tensor.Float64:
			return roiAlign[float64](c, half), nil
		}
		return nil, fmt.Errorf("data of type %v cannot be sampled", c.In[0].DType())
	}
}

// corner is a sample's four neighbours and their weights.
type corner struct {
	at [4]int
	w  [4]float64
}

// bilinear finds the neighbours of a point; none beyond a border of one pixel.
func bilinear(x, y float64, width, height int) (c corner) {
	if width*height == 0 || y < -1 || y > float64(height) || x < -1 || x > float64(width) || x != x || y != y {
		return c
	}
	x, y = min(max(x, 0), float64(width-1)), min(max(y, 0), float64(height-1))
	x0, y0 := int(x), int(y)
	x1, y1 := min(x0+1, width-1), min(y0+1, height-1)
	lx, ly := x-float64(x0), y-float64(y0)
	c.at = [4]int{y0*width + x0, y0*width + x1, y1*width + x0, y1*width + x1}
	c.w = [4]float64{(1 - ly) * (1 - lx), (1 - ly) * lx, ly * (1 - lx), ly * lx}
	return c
}

// region is one box, in pixels, with its bins.
type region struct {
	x, y, binW, binH float64
	gridW, gridH     int
}

func roiAlign[T float32 | float64](c *graph.Call, half bool) func() error {
	a := c.Node.Attrs
	scale, ratio := float64(a.Float("spatial_scale", 1)), a.Int("sampling_ratio", 0)
	maximum := a.String("mode", "avg") == "max"
	in, out := c.In[0].Shape(), c.Out[0].Shape()
	channels, height, width, area := in[1], in[2], in[3], in[2]*in[3]
	var points []corner
	var batches indexList
	return func() error {
		x, rois, y := tensor.Data[T](c.In[0]), tensor.Data[T](c.In[1]), tensor.Data[T](c.Out[0])
		list, err := batches.read(c.In[2], in[0], channels*area)
		if err != nil {
			return err
		}
		bins := out[2] * out[3]
		for n := range out[0] {
			c.Pool.Look()
			r, err := regionOf(rois[n*4:][:4], scale, half, ratio, out[3], out[2])
			if err != nil {
				return fmt.Errorf("box %d: %w", n, err)
			}
			for bin := range bins {
				points = r.points(points[:0], bin/out[3], bin%out[3], width, height)
				for ch := range channels {
					image := x[list[n]+ch*area:][:area]
					y[(n*channels+ch)*bins+bin] = T(poolPoints(points, image, maximum))
				}
			}
		}
		return nil
	}
}

func regionOf[T float32 | float64](box []T, scale float64, half bool, ratio, outW, outH int) (region, error) {
	offset, least := 0.0, 1.0
	if half {
		offset, least = 0.5, math.Inf(-1)
	}
	r := region{x: float64(box[0])*scale - offset, y: float64(box[1])*scale - offset, gridW: ratio, gridH: ratio}
	w := max(float64(box[2])*scale-offset-r.x, least)
	h := max(float64(box[3])*scale-offset-r.y, least)
	r.binW, r.binH = w/float64(outW), h/float64(outH)
	if ratio == 0 {
		if !(r.binW <= maxGrid && r.binH <= maxGrid) {
			return r, fmt.Errorf("bins of %v by %v pixels are too large, the limit is %d", r.binW, r.binH, maxGrid)
		}
		r.gridW, r.gridH = max(int(math.Ceil(r.binW)), 0), max(int(math.Ceil(r.binH)), 0)
	}
	return r, nil
}

// points appends the samples of a bin.
func (r region) points(list []corner, row, col, width, height int) []corner {
	for i := range r.gridH {
		y := r.y + (float64(row)+(float64(i)+0.5)/float64(r.gridH))*r.binH
		for j := range r.gridW {
			x := r.x + (float64(col)+(float64(j)+0.5)/float64(r.gridW))*r.binW
			list = append(list, bilinear(x, y, width, height))
		}
	}
	return list
}

// poolPoints: the mean of the samples, or the greatest of their weighted
// neighbours, which is how ONNX defines the maximum.
func poolPoints[T float32 | float64](points []corner, image []T, maximum bool) float64 {
	sum, most := 0.0, math.Inf(-1)
	for i := range points {
		p := &points[i]
		for k, w := range p.w {
			v := 0.0
			if w != 0 { // whatever there is where nothing is read
				v = w * float64(image[p.at[k]])
			}
			sum += v
			most = max(most, v)
		}
	}
	switch {
	case len(points) == 0:
		return 0
	case maximum:
		return most
	}
	return sum / float64(len(points))
}

func inferMaxRoiPool(c *graph.Infer) error {
	if err := c.Require(2, 2); err != nil {
		return err
	}
	if err := floats(c, 0, 1); err != nil {
		return err
	}
	if err := c.Rank(0, 4); err != nil {
		return err
	}
	if err := c.Rank(1, 2); err != nil {
		return err
	}
	pooled := c.Node.Attrs.Ints("pooled_shape")
	if len(pooled) != 2 || min(pooled[0], pooled[1]) < 1 || max(pooled[0], pooled[1]) > 1<<15 {
		return fmt.Errorf("pooled_shape is %v, expected two sizes", pooled)
	}
	x, rois := c.In(0), c.In(1)
	if err := c.Same(rois.Shape[1], graph.Const(5), "numbers of a box"); err != nil {
		return err
	}
	c.Out(0, x.DType, graph.Shape{rois.Shape[0], x.Shape[1], graph.Const(pooled[0]), graph.Const(pooled[1])})
	return nil
}

func kernelMaxRoiPool(c *graph.Call) (func() error, error) {
	switch c.In[0].DType() {
	case tensor.Float32:
		return maxRoiPool[float32](c), nil
	case tensor.Float64:
		return maxRoiPool[float64](c), nil
	}
	return nil, fmt.Errorf("data of type %v cannot be pooled", c.In[0].DType())
}

// roiPool is the geometry of MaxRoiPool.
type roiPool struct {
	scale   float64
	in, out tensor.Shape // [n, channels, height, width] of the images and of the bins
}

// bounds are the pixels of a bin: from the first of each on, up to the second.
type bounds struct{ x0, x1, y0, y1 int }

// maxRoiPool: an empty bin gives 0.
func maxRoiPool[T float32 | float64](c *graph.Call) func() error {
	p := roiPool{float64(c.Node.Attrs.Float("spatial_scale", 1)), c.In[0].Shape(), c.Out[0].Shape()}
	channels, area, bins := p.in[1], p.in[2]*p.in[3], p.out[2]*p.out[3]
	return func() error {
		x, y := tensor.Data[T](c.In[0]), tensor.Data[T](c.Out[0])
		return eachBin(p, tensor.Data[T](c.In[1]), func(n, batch, bin int, b bounds) {
			for ch := range channels {
				image, v := x[(batch*channels+ch)*area:][:area], T(0)
				if i := greatestIn(b, image, p.in[3]); i >= 0 {
					v = image[i]
				}
				y[(n*channels+ch)*bins+bin] = v
			}
		})
	}
}

// eachBin visits the bins of each box, [batch, x, y, x, y], whose corners are rounded to
// pixels and included (Girshick, "Fast R-CNN", 2015).
func eachBin[T float32 | float64](p roiPool, rois []T, visit func(n, batch, bin int, b bounds)) error {
	height, width := p.in[2], p.in[3]
	for n := range p.out[0] {
		box := rois[n*5:][:5]
		batch := int(box[0])
		if batch < 0 || batch >= p.in[0] {
			return fmt.Errorf("box %d is in image %v of %d", n, box[0], p.in[0])
		}
		var px [4]float64
		for i := range px {
			if px[i] = math.Round(float64(box[i+1]) * p.scale); math.IsNaN(px[i]) || math.IsInf(px[i], 0) {
				return fmt.Errorf("box %d has the corner %v", n, box[i+1])
			}
		}
		w, h := max(px[2]-px[0]+1, 1)/float64(p.out[3]), max(px[3]-px[1]+1, 1)/float64(p.out[2])
		for bin := range p.out[2] * p.out[3] {
			var b bounds
			b.y0, b.y1 = binLimits(px[1], h, bin/p.out[3], height)
			b.x0, b.x1 = binLimits(px[0], w, bin%p.out[3], width)
			visit(n, batch, bin, b)
		}
	}
	return nil
}

// binLimits are the first pixel of a bin and the one behind its last.
func binLimits(start, size float64, i, limit int) (lo, hi int) {
	clamp := func(v float64) int { return int(min(max(v, 0), float64(limit))) }
	return clamp(math.Floor(float64(i)*size) + start), clamp(math.Ceil(float64(i+1)*size) + start)
}

// greatestIn is where the first of the greatest pixels is, or the last that is no number;
// -1 in an empty bin.
func greatestIn[T float32 | float64](b bounds, image []T, width int) int {
	at := -1
	for y := b.y0; y < b.y1; y++ {
		for x := b.x0; x < b.x1; x++ {
			if v := image[y*width+x]; at < 0 || v > image[at] || v != v {
				at = y*width + x
			}
		}
	}
	return at
}
