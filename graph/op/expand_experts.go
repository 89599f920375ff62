package op

import (
	"fmt"
	"math"

	"tandem/graph"
	"tandem/tensor"
)

// expandExperts writes a mixture as dense products: every row goes through all experts,
// and those that its router has not chosen have the weight 0. That is as many times the
// work as there are experts for each chosen one; shapes stay known, and which experts
// are chosen does not change the nodes.
func expandExperts(read func(graph.Attrs) (expertsForm, error)) func(*graph.Expansion) ([]*graph.Value, error) {
	return func(e *graph.Expansion) ([]*graph.Value, error) {
		f, err := read(e.Node.Attrs)
		if err != nil {
			return nil, err
		}
		var shapes [2]tensor.Shape // of the weights
		for i, l := range f.layers {
			var ok bool
			if shapes[i], ok = e.In(l.weight).Type.Shape.Static(); !ok {
				return nil, fmt.Errorf("the shapes of the weights are not known")
			}
		}
		w := writtenExperts{e, f, shapes[0][0]}
		x := e.Op("Reshape", nil, e.In(expertsX), e.Ints("rows", -1, int64(shapes[1][1])))
		y := w.layer(1, w.activated(w.layer(0, x)))
		shares := e.Op("Unsqueeze", nil, e.Op("Transpose", graph.Attrs{"perm": []int64{1, 0}}, w.shares()), e.Ints("axis", 2))
		sum := e.Op("ReduceSum", graph.Attrs{"keepdims": int64(0)}, e.Op("Mul", nil, y, shares), e.Ints("axis", 0))
		return []*graph.Value{e.Private("ReshapeLike", nil, sum, e.In(expertsX))}, nil
	}
}

type writtenExperts struct {
	*graph.Expansion
	f       expertsForm
	experts int
}

// shares are the weights of all experts for each row, [rows, experts].
func (w writtenExperts) shares() *graph.Value {
	router, last := w.In(expertsRouter), graph.Attrs{"axis": int64(-1)}
	top := w.Builder.Node(onnx("TopK"), 2, last, router, w.Ints("k", int64(w.f.k)))
	scores, chosen := top[0], top[1]
	share := (*graph.Value)(nil)
	if w.f.normalized {
		share = w.Op("Softmax", last, scores)
	} else {
		share = w.Op("GatherElements", last, w.Op("Softmax", last, router), chosen)
	}
	none := w.Op("ConstantOfShape", nil, w.Op("Shape", nil, router))
	return w.Op("ScatterElements", last, none, chosen, share)
}

// layer is x·weightᵀ + bias for each expert, [experts, rows, …].
func (w writtenExperts) layer(i int, x *graph.Value) *graph.Value {
	l := w.f.layers[i]
	y := w.Builder.Node(microsoft("FusedMatMul"), 1, graph.Attrs{"transB": int64(1)}, x, w.weight(i))[0]
	if bias := w.In(l.bias); bias != nil {
		y = w.Op("Add", nil, y, w.Op("Reshape", nil, bias, w.Ints("column", int64(w.experts), 1, -1)))
	}
	return y
}

// weight is what expertLayer.decode makes of codes, for all experts.
func (w writtenExperts) weight(i int) *graph.Value {
	l, bits := w.f.layers[i], w.f.bits[i]
	if bits == 0 {
		return w.In(l.weight)
	}
	shape, _ := w.In(l.weight).Type.Shape.Static()
	experts, rows, cols, blocks := shape[0], shape[1], shape[2]*8/bits, 1
	if w.f.block > 0 {
		blocks = cols / w.f.block
	}
	perBlock := w.Ints("blocks", int64(experts), int64(rows), int64(blocks), -1)
	codes := w.Op("Reshape", nil, unpackedCodes(w.Expansion, w.In(l.weight), bits), perBlock)
	weight := w.Op("Mul", nil, w.Op("Sub", nil, codes, w.zeros(i, experts, rows, blocks)), w.Op("Reshape", nil, w.In(l.scale), perBlock))
	return w.Op("Reshape", nil, weight, w.Ints("weight", int64(experts), int64(rows), int64(cols)))
}

// zeros are the zero points of a layer, of each block (see zeroPoints), or one number.
func (w writtenExperts) zeros(i, experts, rows, blocks int) *graph.Value {
	bits, points := w.f.bits[i], w.In(w.f.layers[i].zero)
	if points == nil {
		return w.Scalar("zero", float32(int(1)<<(bits-1)))
	}
	lines, n := experts*rows, blocks // each a number of bytes
	if along := experts * ((rows*bits + 7) / 8); blocks == 1 && points.Type.Shape.Len().Is(along) {
		lines, n = experts, rows
	}
	z := unpackedCodes(w.Expansion, w.Op("Reshape", nil, points, w.Ints("lines", int64(lines), -1)), bits)
	z = w.Op("Slice", nil, z, w.Ints("from", 0), w.Ints("to", int64(n)), w.Ints("axis", 1))
	return w.Op("Reshape", nil, z, w.Ints("blocks", int64(experts), int64(rows), int64(blocks), 1))
}

// activated is what mixture.activate computes.
func (w writtenExperts) activated(x *graph.Value) *graph.Value {
	switch w.f.activation {
	case "relu":
		return w.Op("Relu", nil, x)
	case "gelu":
		return w.Op("Gelu", graph.Attrs{"approximate": "tanh"}, x)
	case "silu":
		return w.Op("Mul", nil, x, w.Op("Sigmoid", nil, x))
	case "swiglu":
		every := func(first int64) *graph.Value {
			return w.Op("Slice", nil, x, w.Ints("from", first), w.Ints("to", math.MaxInt64), w.Ints("axis", 2), w.Ints("step", 2))
		}
		gate, value := every(0), every(1)
		if limit := float32(w.f.limit); !math.IsInf(w.f.limit, 1) {
			gate = w.Op("Clip", nil, gate, nil, w.Scalar("high", limit))
			value = w.Op("Clip", nil, value, w.Scalar("low", -limit), w.Scalar("high", limit))
		}
		sharp := w.Op("Sigmoid", nil, w.Op("Mul", nil, gate, w.Scalar("alpha", float32(w.f.alpha))))
		return w.Op("Mul", nil, w.Op("Mul", nil, gate, sharp), w.Op("Add", nil, value, w.Scalar("beta", float32(w.f.beta))))
	}
	return x
}
