package op

import (
	"fmt"
	"math"
	"slices"

	"tandem/graph"
	"tandem/graph/op/move"
	"tandem/graph/op/narrow"
	"tandem/tensor"
)

// resizeOps: Upsample and the first Resize read coordinates as x/scale and take
// the element before; from version 11 attributes say how.
func resizeOps() []graph.Op {
	op := func(name string, since int, s resizing) graph.Op {
		return graph.Op{
			ID: onnx(name), Since: since,
			Infer:  func(c *graph.Infer) error { return s.infer(c) },
			Kernel: narrow.Widened(wholeNumbers(func(c *graph.Call) (func() error, error) { return s.kernel(c) })),
			Grad:   func(g *graph.Gradient) error { return s.grad(g) },
		}
	}
	return []graph.Op{
		op("Upsample", 7, resizing{legacy: true}),
		op("Upsample", 9, resizing{legacy: true, scales: 1}),
		op("Resize", 10, resizing{legacy: true, scales: 1}),
		op("Resize", 11, resizing{roi: 1, scales: 2, sizes: 3}),
	}
}

// resizing is a version of Resize: which inputs it has, 0 where there is none.
type resizing struct {
	legacy             bool
	roi, scales, sizes int
}

// resizeMode is what the attributes say.
type resizeMode struct {
	mode, nearest, coordinate, policy string
	a, extrapolation                  float64
	exclude, antialias                bool
	axes                              []int
}

func (s resizing) mode(a graph.Attrs, rank int) (resizeMode, error) {
	m := resizeMode{
		mode: a.String("mode", "nearest"), nearest: a.String("nearest_mode", "round_prefer_floor"),
		coordinate: a.String("coordinate_transformation_mode", "half_pixel"), policy: a.String("keep_aspect_ratio_policy", "stretch"),
		a: float64(a.Float("cubic_coeff_a", -0.75)), extrapolation: float64(a.Float("extrapolation_value", 0)),
		exclude: a.Int("exclude_outside", 0) != 0, antialias: a.Int("antialias", 0) != 0, axes: count(rank),
	}
	if s.legacy {
		m.nearest, m.coordinate = "floor", "asymmetric"
	}
	if axes := a.Ints("axes"); axes != nil {
		var err error
		if m.axes, err = axesIn(axes, rank); err != nil {
			return m, err
		}
	}
	for _, choice := range []struct {
		name, value string
		of          []string
	}{
		{"mode", m.mode, []string{"nearest", "linear", "bilinear", "cubic"}},
		{"nearest_mode", m.nearest, []string{"round_prefer_floor", "round_prefer_ceil", "floor", "ceil"}},
		{"coordinate_transformation_mode", m.coordinate, []string{"half_pixel", "half_pixel_symmetric", "pytorch_half_pixel",
			"align_corners", "asymmetric", "tf_crop_and_resize", "tf_half_pixel_for_nn"}},
		{"keep_aspect_ratio_policy", m.policy, []string{"stretch", "not_larger", "not_smaller"}},
	} {
		if !slices.Contains(choice.of, choice.value) {
			return m, fmt.Errorf("%s is %q, expected one of %v", choice.name, choice.value, choice.of)
		}
	}
	if m.antialias && m.mode == "nearest" {
		return m, fmt.Errorf("antialias has no meaning with mode nearest")
	}
	return m, nil
}

// given reports whether the input that the version has at i is there with
// elements: scales or sizes that are not used may be empty.
func (s resizing) given(c *graph.Infer, i int) bool {
	return i > 0 && c.Has(i) && !c.In(i).Shape.Len().Is(0)
}

func (s resizing) infer(c *graph.Infer) error {
	if err := c.Require(1, 4); err != nil {
		return err
	}
	in := c.In(0)
	m, err := s.mode(c.Node.Attrs, len(in.Shape))
	if err != nil {
		return err
	}
	if !in.DType.Numeric() && m.mode != "nearest" || move.Packed(in.DType) {
		return fmt.Errorf("elements of type %v cannot be interpolated", in.DType)
	}
	if s.given(c, s.sizes) {
		return s.inferSizes(c, m)
	}
	scales, _ := c.Node.Attrs["scales"].([]float32)
	if s.given(c, s.scales) {
		t, err := c.Elements(s.scales)
		if err != nil {
			return err
		}
		if t.DType() != tensor.Float32 {
			return fmt.Errorf("the scales are %v, expected float32", t.DType())
		}
		scales = t.F32()
	}
	if len(scales) != len(m.axes) {
		return fmt.Errorf("%d scales for %d axes", len(scales), len(m.axes))
	}
	shape := slices.Clone(in.Shape)
	for i, a := range m.axes {
		if shape[a], err = scaled(shape[a], scales[i]); err != nil {
			return err
		}
	}
	c.Out(0, in.DType, shape)
	return nil
}

// scaled is the floor of d·scale, computed in float32 as ONNX's own shape
// inference does.
func scaled(d graph.Dim, scale float32) (graph.Dim, error) {
	if !(scale > 0) || scale > 1<<30 {
		return d, fmt.Errorf("the scale %v is not positive and finite", scale)
	}
	if n, ok := d.Value(); ok {
		return graph.Const(int(float32(n) * scale)), nil
	}
	if n := int(scale); float32(n) == scale {
		return d.Mul(graph.Const(n)), nil
	}
	if n := int(1 / scale); 1/float32(n) == scale {
		return d.Div(graph.Const(n)), nil
	}
	return d, graph.ErrNeedsData
}

func (s resizing) inferSizes(c *graph.Infer, m resizeMode) error {
	in := c.In(0)
	sizes, ok := c.Content(s.sizes)
	if !ok {
		return graph.ErrNeedsData
	}
	if len(sizes) != len(m.axes) {
		return fmt.Errorf("%d sizes for %d axes", len(sizes), len(m.axes))
	}
	shape := slices.Clone(in.Shape)
	if m.policy == "stretch" {
		for i, a := range m.axes {
			if n, ok := sizes[i].Value(); ok && n < 0 {
				return fmt.Errorf("the size of dimension %d is to be %d", a, n)
			}
			shape[a] = sizes[i]
		}
		c.Out(0, in.DType, shape)
		return nil
	}
	from, ok1 := in.Shape.Static()
	to, ok2 := graph.Shape(sizes).Static()
	if !ok1 || !ok2 {
		return graph.ErrNeedsData
	}
	scale, err := m.commonScale(from, to)
	if err != nil {
		return err
	}
	for _, a := range m.axes {
		shape[a] = graph.Const(int(scale*float64(from[a]) + 0.5))
	}
	c.Out(0, in.DType, shape)
	return nil
}

// commonScale is the one scale under a policy that keeps the aspect ratio.
func (m resizeMode) commonScale(from, sizes []int) (float64, error) {
	scale := math.NaN()
	for i, a := range m.axes {
		if from[a] == 0 || sizes[i] < 0 {
			return 0, fmt.Errorf("dimension %d cannot be resized from %d to %d", a, from[a], sizes[i])
		}
		v := float64(sizes[i]) / float64(from[a])
		if i == 0 || m.policy == "not_larger" && v < scale || m.policy == "not_smaller" && v > scale {
			scale = v
		}
	}
	return scale, nil
}

// scalesOf are the scales of all dimensions when the kernel runs.
func (s resizing) scalesOf(c *graph.Call, m resizeMode) ([]float64, error) {
	in, out := c.In[0].Shape(), c.Out[0].Shape()
	scales := make([]float64, len(in))
	for i := range scales {
		scales[i] = 1
	}
	if s.sizes > 0 && c.Has(s.sizes) && c.In[s.sizes].Len() > 0 {
		common, err := m.commonScale(in, c.In[s.sizes].Ints())
		for _, a := range m.axes {
			scales[a] = float64(out[a]) / float64(max(in[a], 1))
			if m.policy != "stretch" {
				scales[a] = common
			}
		}
		if m.policy == "stretch" {
			err = nil
		}
		return scales, err
	}
	list, _ := c.Node.Attrs["scales"].([]float32)
	if s.scales > 0 && c.Has(s.scales) && c.In[s.scales].Len() > 0 {
		list = c.F32(s.scales)
	}
	for i, a := range m.axes {
		scales[a] = float64(list[i])
	}
	return scales, nil
}

// roiOf are the start and end of the region of interest along each dimension.
func (s resizing) roiOf(c *graph.Call, m resizeMode) ([][2]float64, error) {
	roi := make([][2]float64, c.In[0].Rank())
	for i := range roi {
		roi[i] = [2]float64{0, 1}
	}
	if m.coordinate != "tf_crop_and_resize" {
		return roi, nil
	}
	n := len(m.axes)
	if s.roi == 0 || !c.Has(s.roi) || c.In[s.roi].Len() != 2*n {
		return nil, fmt.Errorf("tf_crop_and_resize needs %d limits of a region of interest", 2*n)
	}
	limits := tensor.New(tensor.Float64, 2*n)
	if err := tensor.Convert(limits, c.In[s.roi], false); err != nil {
		return nil, err
	}
	v := tensor.Data[float64](limits)
	for i, a := range m.axes {
		roi[a] = [2]float64{v[i], v[n+i]}
	}
	return roi, nil
}

// plan finds the taps of every axis that changes.
func (s resizing) plan(c *graph.Call, m resizeMode) ([]*axisTaps, error) {
	in, out := c.In[0].Shape(), c.Out[0].Shape()
	if in.Len() == 0 && out.Len() > 0 {
		return nil, fmt.Errorf("shape %v cannot be resized to %v", in, out)
	}
	scales, err := s.scalesOf(c, m)
	if err != nil {
		return nil, err
	}
	roi, err := s.roiOf(c, m)
	if err != nil {
		return nil, err
	}
	list := make([]*axisTaps, len(in))
	for d := range in {
		if in[d] == out[d] && math.Abs(scales[d]-1) < 1e-9 && roi[d] == [2]float64{0, 1} {
			continue
		}
		list[d] = m.taps(in[d], out[d], scales[d], roi[d])
	}
	return list, nil
}

func (s resizing) kernel(c *graph.Call) (func() error, error) {
	m, err := s.mode(c.Node.Attrs, c.In[0].Rank())
	if err != nil {
		return nil, err
	}
	prepare, err := resizeKernel(c, m)
	if err != nil {
		return nil, err
	}
	fixed := true
	for _, v := range c.Node.Inputs[1:] {
		fixed = fixed && (v == nil || v.Const != nil)
	}
	var run func()
	return func() error {
		if run == nil || !fixed {
			plan, err := s.plan(c, m)
			if err != nil {
				return err
			}
			if run, err = prepare(plan); err != nil {
				return err
			}
		}
		run()
		return nil
	}, nil
}

// resizeKernel prepares what applies the taps of all axes.
func resizeKernel(c *graph.Call, m resizeMode) (func([]*axisTaps) (func(), error), error) {
	if m.mode == "nearest" {
		return nearestKernel(c, m)
	}
	switch c.In[0].DType() {
	case tensor.Float32:
		return interpolation[float32](c, m), nil
	case tensor.Float64:
		return interpolation[float64](c, m), nil
	}
	return nil, fmt.Errorf("elements of type %v cannot be interpolated", c.In[0].DType())
}

// wholeNumbers lets a float64 kernel serve integers where it interpolates: results
// are rounded, ties to even, and saturated.
func wholeNumbers(kernel graph.Kernel) graph.Kernel {
	return func(c *graph.Call) (func() error, error) {
		x, y := c.In[0], c.Out[0]
		if x.DType().Float() || c.Node.Attrs.String("mode", "nearest") == "nearest" {
			return kernel(c)
		}
		lo, hi := limitsOf(x.DType())
		var err error
		if c.In[0], err = c.New(tensor.Float64, x.Shape()...); err != nil {
			return nil, err
		}
		if c.Out[0], err = c.New(tensor.Float64, y.Shape()...); err != nil {
			return nil, err
		}
		run, err := kernel(c)
		if err != nil {
			return nil, err
		}
		return func() error {
			if err := tensor.Convert(c.In[0], x, false); err != nil {
				return err
			}
			if err := run(); err != nil {
				return err
			}
			v := tensor.Data[float64](c.Out[0])
			for i := range v {
				v[i] = min(max(math.RoundToEven(v[i]), lo), hi)
			}
			return tensor.Convert(y, c.Out[0], true)
		}, nil
	}
}

// limitsOf are the least and the greatest number of an integer type, as far as a
// float64 holds them.
func limitsOf(d tensor.DType) (lo, hi float64) {
	bits := d.Bits()
	switch d {
	case tensor.Bool:
		return 0, 1
	case tensor.Uint8, tensor.Uint16, tensor.Uint32, tensor.Uint64:
		return 0, greatestBelow(bits)
	}
	return -math.Ldexp(1, bits-1), greatestBelow(bits - 1)
}

// greatestBelow is 2ⁿ-1, or the float64 below 2ⁿ.
func greatestBelow(bits int) float64 {
	if bits <= 53 {
		return math.Ldexp(1, bits) - 1
	}
	return math.Nextafter(math.Ldexp(1, bits), 0)
}
