package op

import (
	"fmt"

	"tandem/graph"
	"tandem/tensor"
)

// window are the attributes that convolution and pooling share, one number for
// each spatial dimension.
type window struct {
	kernel, stride, dilation []int
	before, after            []int // padding
	autoPad                  string
	ceil                     bool
}

// maxWindow bounds the numbers of a window, so that no sum of them overflows.
const maxWindow = 1 << 24

// readWindow reads the attributes for a window of the given shape.
func readWindow(a graph.Attrs, kernelShape []int) (window, error) {
	rank := len(kernelShape)
	w := window{kernel: kernelShape, autoPad: a.String("auto_pad", "NOTSET"), ceil: a.Int("ceil_mode", 0) != 0}
	if rank == 0 {
		return w, fmt.Errorf("the window has no dimensions")
	}
	for _, k := range kernelShape {
		if k < 1 || k > maxWindow {
			return w, fmt.Errorf("window %v: positive numbers expected", kernelShape)
		}
	}
	var err error
	if w.stride, err = perAxis(a, "strides", rank, 1); err != nil {
		return w, err
	}
	if w.dilation, err = perAxis(a, "dilations", rank, 1); err != nil {
		return w, err
	}
	pads := make([]int, 2*rank)
	if a.Ints("pads") != nil && w.autoPad != "VALID" {
		if pads, err = perAxis(a, "pads", 2*rank, 0); err != nil {
			return w, err
		}
	}
	w.before, w.after = pads[:rank], pads[rank:]
	switch w.autoPad {
	case "NOTSET", "VALID", "SAME_UPPER", "SAME_LOWER":
		return w, nil
	case "":
		w.autoPad = "NOTSET"
		return w, nil
	}
	return w, fmt.Errorf("auto_pad %q is unknown", w.autoPad)
}

// perAxis is an attribute with n numbers of at least least, which it is where absent.
func perAxis(a graph.Attrs, name string, n, least int) ([]int, error) {
	v := a.Ints(name)
	if v == nil {
		v = make([]int, n)
		for i := range v {
			v[i] = least
		}
		return v, nil
	}
	if len(v) != n {
		return nil, fmt.Errorf("%s %v: %d numbers expected", name, v, n)
	}
	for _, x := range v {
		if x < least || x > maxWindow {
			return nil, fmt.Errorf("%s %v: numbers of at least %d expected", name, v, least)
		}
	}
	return v, nil
}

// extent is what a window covers along a spatial dimension.
func (w window) extent(axis int) int { return w.dilation[axis]*(w.kernel[axis]-1) + 1 }

func (w window) extents() tensor.Shape {
	s := make(tensor.Shape, len(w.kernel))
	for axis := range s {
		s[axis] = w.extent(axis)
	}
	return s
}

// out is the output's size along a spatial dimension (ONNX, Conv and MaxPool).
func (w window) out(axis int, in graph.Dim) graph.Dim {
	stride := graph.Const(w.stride[axis])
	switch w.autoPad {
	case "SAME_UPPER", "SAME_LOWER":
		return in.CeilDiv(stride)
	case "VALID":
		return in.Sub(graph.Const(w.extent(axis))).Div(stride).Add(graph.Const(1))
	}
	room := in.Add(graph.Const(w.before[axis] + w.after[axis] - w.extent(axis)))
	if !w.ceil {
		return room.Div(stride).Add(graph.Const(1))
	}
	// A window that would begin in the padding behind the input is left out.
	last := in.Add(graph.Const(w.before[axis] - 1)).Div(stride)
	return room.CeilDiv(stride).Min(last).Add(graph.Const(1))
}

// pads are the paddings for a known size, auto_pad resolved. With ceil_mode the
// last window may reach beyond: the padding behind grows to hold it.
func (w window) pads(axis, in, out int) (before, after int) {
	total := max((out-1)*w.stride[axis]+w.extent(axis)-in, 0)
	switch w.autoPad {
	case "SAME_UPPER":
		return total / 2, total - total/2
	case "SAME_LOWER":
		return total - total/2, total / 2
	case "VALID":
		return 0, 0
	}
	before, after = w.before[axis], w.after[axis]
	if w.ceil {
		after = max(after, total-before)
	}
	return before, after
}

// outShape is the output's shape for an input [n, c, spatial…].
func (w window) outShape(in graph.Shape, channels graph.Dim) (graph.Shape, error) {
	if len(in) != len(w.kernel)+2 {
		return nil, fmt.Errorf("shape %v does not fit a window of %d dimensions", in, len(w.kernel))
	}
	out := graph.Shape{in[0], channels}
	for axis := range w.kernel {
		d := w.out(axis, in[axis+2])
		if n, ok := d.Value(); ok && n < 1 {
			return nil, fmt.Errorf("a window of %v is larger than the input of shape %v", w.extents(), in)
		}
		out = append(out, d)
	}
	return out, nil
}

// taps finds the input elements that a window covers. It serves one goroutine.
type taps struct {
	in, out  []int // spatial sizes
	kernel   []int
	stride   []int
	dilation []int
	before   []int
	offsets  []int
	starts   []int // of the window along each axis
}

// taps are those of w between known spatial sizes.
func (w window) taps(in, out []int) *taps {
	t := &taps{in: in, out: out, kernel: w.kernel, stride: w.stride, dilation: w.dilation, before: make([]int, len(in)), starts: make([]int, len(in))}
	for axis := range in {
		t.before[axis], _ = w.pads(axis, in[axis], out[axis])
	}
	return t
}

// clones are for n goroutines.
func (t *taps) clones(n int) []*taps {
	list := make([]*taps, n)
	for i := range list {
		c := *t
		c.offsets, c.starts = nil, make([]int, len(t.in))
		list[i] = &c
	}
	return list
}

// at lists where in the plane the elements of the window of output o lie, in row
// order, padding left out. The list is valid until the next call.
func (t *taps) at(o int) []int {
	for axis := len(t.out) - 1; axis >= 0; axis-- {
		t.starts[axis] = o%t.out[axis]*t.stride[axis] - t.before[axis]
		o /= t.out[axis]
	}
	t.offsets = t.offsets[:0]
	t.extend(0, 0)
	return t.offsets
}

func (t *taps) extend(axis, base int) {
	base *= t.in[axis]
	for k, i := 0, t.starts[axis]; k < t.kernel[axis]; k, i = k+1, i+t.dilation[axis] {
		switch {
		case i < 0 || i >= t.in[axis]:
		case axis == len(t.in)-1:
			t.offsets = append(t.offsets, base+i)
		default:
			t.extend(axis+1, base+i)
		}
	}
}
