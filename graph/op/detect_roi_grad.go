package op

import (
	"fmt"
	"maps"
	"math"

	"tandem/graph"
)

// Gradients of pooling in boxes, by the image; where the boxes lie is not trained.

func gradRoiAlign(halfPixel bool) func(*graph.Gradient) error {
	return func(g *graph.Gradient) error {
		if g.Needs(1) {
			return fmt.Errorf("the boxes of RoiAlign have no gradient")
		}
		attrs := maps.Clone(g.Node.Attrs)
		if attrs == nil {
			attrs = graph.Attrs{}
		}
		if !halfPixel {
			attrs["coordinate_transformation_mode"] = "output_half_pixel"
		}
		g.Set(0, g.Private("RoiAlignGrad", attrs, g.Out(0), g.In(0), g.In(1), g.In(2)))
		return nil
	}
}

// kernelRoiAlignGrad: the neighbours of a bin's samples share its gradient by their
// weights; of a maximum, the weighted neighbour that it is has all.
func kernelRoiAlignGrad(c *graph.Call) (func() error, error) {
	a := c.Node.Attrs
	half := a.String("coordinate_transformation_mode", "half_pixel") == "half_pixel"
	scale, ratio := float64(a.Float("spatial_scale", 1)), a.Int("sampling_ratio", 0)
	maximum := a.String("mode", "avg") == "max"
	in, out := c.In[1].Shape(), c.In[0].Shape()
	channels, height, width, area, bins := in[1], in[2], in[3], in[2]*in[3], out[2]*out[3]
	var points []corner
	var batches indexList
	return func() error {
		dy, x, dx := c.F32(0), c.F32(1), c.Out[0].F32()
		list, err := batches.read(c.In[3], in[0], channels*area)
		if err != nil {
			return err
		}
		clear(dx)
		for n := range out[0] {
			r, err := regionOf(c.F32(2)[n*4:][:4], scale, half, ratio, out[3], out[2])
			if err != nil {
				return fmt.Errorf("box %d: %w", n, err)
			}
			for bin := range bins {
				points = r.points(points[:0], bin/out[3], bin%out[3], width, height)
				for ch := range channels {
					at := list[n] + ch*area
					spreadPoints(points, dx[at:][:area], x[at:][:area], float64(dy[(n*channels+ch)*bins+bin]), maximum)
				}
			}
		}
		return nil
	}, nil
}

// spreadPoints is poolPoints backwards: it adds to dx.
func spreadPoints(points []corner, dx, x []float32, d float64, maximum bool) {
	if !maximum {
		for i := range points {
			for k, w := range points[i].w {
				if w != 0 {
					dx[points[i].at[k]] += float32(d * w / float64(len(points)))
				}
			}
		}
		return
	}
	most, at, weight := math.Inf(-1), -1, 0.0
	for i := range points {
		for k, w := range points[i].w {
			v := 0.0
			if w != 0 {
				v = w * float64(x[points[i].at[k]])
			}
			if v > most {
				most, at, weight = v, points[i].at[k], w
			}
		}
	}
	if at >= 0 && weight != 0 {
		dx[at] += float32(d * weight)
	}
}

func gradMaxRoiPool(g *graph.Gradient) error {
	if g.Needs(1) {
		return fmt.Errorf("the boxes of MaxRoiPool have no gradient")
	}
	g.Set(0, g.Private("MaxRoiPoolGrad", g.Node.Attrs, g.Out(0), g.In(0), g.In(1)))
	return nil
}

// kernelMaxRoiPoolGrad: the first of a bin's greatest pixels has its gradient.
func kernelMaxRoiPoolGrad(c *graph.Call) (func() error, error) {
	p := roiPool{scale: float64(c.Node.Attrs.Float("spatial_scale", 1)), in: c.In[1].Shape(), out: c.In[0].Shape()}
	channels, area, bins := p.in[1], p.in[2]*p.in[3], p.out[2]*p.out[3]
	return func() error {
		dy, x, dx := c.F32(0), c.F32(1), c.Out[0].F32()
		clear(dx)
		return eachBin(p, c.F32(2), func(n, batch, bin int, b bounds) {
			for ch := range channels {
				at := (batch*channels + ch) * area
				if i := greatestIn(b, x[at:][:area], p.in[3]); i >= 0 {
					dx[at+i] += dy[(n*channels+ch)*bins+bin]
				}
			}
		})
	}, nil
}
