package pass

import (
	"fmt"
	"maps"
	"slices"

	"tandem/graph"
	"tandem/kernel"
	"tandem/tensor"
)

// ChannelsLast lowers convolutions with constant weights to kernels that want the
// channels behind the pixels, and keeps what is computed from their results in that
// layout as far as it goes: through element-wise functions, pooling, joining and
// padding. Only where something else reads such a value are the channels moved back,
// once; a Transpose that an exporter wrote to do the same is then none.
// Weights are packed for the pool's processor.
func ChannelsLast(p *kernel.Pool, packing Packing) graph.Pass {
	packing = packing.orInMemory()
	return graph.Pass{Name: "channels-last", Run: func(g *graph.Graph, ops *graph.Table) error {
		moved := func(n *graph.Node) bool { return lowered(n) || n.Op == toFirst }
		if g.Opset[""] < 7 || !slices.ContainsFunc(g.Nodes, moved) {
			return nil
		}
		nodes := g.Nodes
		l := &lowering{
			b: graph.Extend(g, ops), pool: p, packing: packing, uses: g.Uses(), last: map[*graph.Value]*graph.Value{},
			virtual: map[*graph.Value]bool{}, alias: map[*graph.Value]*graph.Value{}, packed: map[packedConv]*graph.Value{},
		}
		g.Nodes = nil
		for _, n := range nodes {
			l.readAliases(n)
			done, err := l.lower(n)
			if err != nil {
				return err
			}
			if !done {
				for _, v := range n.Reads() {
					l.need(v)
				}
				g.Nodes = append(g.Nodes, n)
			}
		}
		for i, v := range g.Outputs {
			if to := l.alias[v]; to != nil { // outputs keep their names
				l.emitAs(v, l.b.Op("Identity", nil, to))
			}
			l.need(g.Outputs[i])
		}
		for _, s := range g.State {
			l.need(s.Next)
		}
		return l.b.Err()
	}}
}

// toLast and toFirst move the channels behind the pixels and back. FuseBFloat16 has put
// them around convolutions.
var (
	toLast  = graph.OpID{Domain: graph.Private, Name: "ToLast"}
	toFirst = graph.OpID{Domain: graph.Private, Name: "ToFirst"}
)

// lowering is the work of one ChannelsLast.
type lowering struct {
	b       *graph.Builder
	pool    *kernel.Pool
	packing Packing
	uses    map[*graph.Value][]*graph.Node
	// last are values with their channels last, by the value that it is of; virtual
	// are those values of which nothing else has been computed yet.
	last    map[*graph.Value]*graph.Value
	virtual map[*graph.Value]bool
	alias   map[*graph.Value]*graph.Value // what to read instead of a value
	packed  map[packedConv]*graph.Value   // weights
}

// lowered reports whether n is a convolution that this pass lowers.
func lowered(n *graph.Node) bool {
	if n.Op == (graph.OpID{Name: "QLinearConv"}) {
		return byteConv(n)
	}
	if n.Op != (graph.OpID{Name: "Conv"}) && n.Op != (graph.OpID{Domain: "com.microsoft", Name: "FusedConv"}) {
		return false
	}
	x, w := n.Inputs[0], n.Inputs[1]
	rank := len(x.Type.Shape)
	return isFloat32(x) && imageLike(x) && w.Const != nil && w.Const.Encoding == graph.Dense && len(w.Const.Shape) == rank && fusable(n)
}

// fusable reports whether the activation of a FusedConv is one that ConvLast has.
func fusable(n *graph.Node) bool {
	name := n.Attrs.String("activation", "")
	return name == "" || name == "Relu" || name == "Tanh" || name == "Sigmoid"
}

// imageLike reports whether v is a line or an image of float32 or of bytes.
func imageLike(v *graph.Value) bool {
	return (v.Type.DType == tensor.Float32 || isBytes(v)) && (len(v.Type.Shape) == 3 || len(v.Type.Shape) == 4)
}

func (l *lowering) readAliases(n *graph.Node) {
	for i, v := range n.Inputs {
		if to := l.alias[v]; v != nil && to != nil {
			n.Inputs[i] = to
		}
	}
	for _, b := range n.Bodies() {
		for _, v := range b.Graph.Captures() {
			if to := l.alias[v]; to != nil {
				b.Graph.Replace(v, to)
			}
		}
	}
}

// need makes sure that v itself is computed.
func (l *lowering) need(v *graph.Value) {
	if l.virtual[v] {
		delete(l.virtual, v)
		l.emitAs(v, l.b.Private("ToFirst", nil, l.last[v]))
	}
}

// emitAs lets the node that was added last, whose result is made, compute v.
func (l *lowering) emitAs(v, made *graph.Value) {
	if made.Def == nil || l.b.Err() != nil {
		return
	}
	made.Def.Outputs[0] = v
	v.Def = made.Def
}

// lastOf is v with its channels last.
func (l *lowering) lastOf(v *graph.Value) *graph.Value {
	if l.last[v] == nil {
		l.last[v] = l.b.Private("ToLast", nil, v)
	}
	return l.last[v]
}

// set records that z is y with its channels last.
func (l *lowering) set(y, z *graph.Value) {
	l.last[y], l.virtual[y] = z, true
}

// lower adds what computes the results of n with channels last, if there is such.
func (l *lowering) lower(n *graph.Node) (bool, error) {
	if lowered(n) {
		if n.Op.Name == "QLinearConv" {
			return true, l.byteConv(n)
		}
		return true, l.conv(n)
	}
	switch n.Op {
	case toLast:
		l.alias[n.Outputs[0]] = l.lastOf(n.Inputs[0])
		return true, nil
	case toFirst:
		l.set(n.Outputs[0], n.Inputs[0])
		return true, nil
	}
	if n.Op.Domain == "com.microsoft" && (n.Op.Name == "QLinearAdd" || n.Op.Name == "QLinearMul") {
		return l.combine(n), nil
	}
	if n.Op == lookup && l.virtual[n.Inputs[0]] {
		l.set(n.Outputs[0], l.b.Private("Lookup", nil, l.last[n.Inputs[0]], n.Inputs[1]))
		return true, nil
	}
	if n.Op.Domain != "" || len(n.Inputs) == 0 || n.Inputs[0] == nil {
		return false, nil
	}
	x := n.Inputs[0]
	if n.Op.Name == "ReduceMean" && isFloat32(x) && imageLike(x) && overAxes(n, 1, len(x.Type.Shape)-1) {
		return l.meanAsItIs(n, x), nil
	}
	if n.Op.Name == "Transpose" {
		return l.transpose(n, x), nil
	}
	if !slices.ContainsFunc(n.Inputs, func(v *graph.Value) bool { return l.virtual[v] }) {
		return false, nil
	}
	switch name := n.Op.Name; {
	case slices.Contains(unaryNames(), name):
		if !l.virtual[x] || slices.ContainsFunc(n.Inputs[1:], func(v *graph.Value) bool { return v != nil && !v.Type.Shape.Len().Is(1) }) {
			return false, nil
		}
		z := l.b.Node(n.Op, 1, n.Attrs, append([]*graph.Value{l.last[x]}, n.Inputs[1:]...)...)[0]
		l.set(n.Outputs[0], z)
		return true, nil
	case slices.Contains(binaryNames(), name):
		return l.broadcast(n), nil
	case name == "MaxPool" && n.Output(1) == nil, name == "AveragePool" && isFloat32(x):
		l.set(n.Outputs[0], l.b.Private(name+"Last", n.Attrs, l.last[x]))
		return true, nil
	case name == "GlobalAveragePool" || name == "ReduceMean" && overAxes(n, 2, len(x.Type.Shape)):
		return l.mean(n), nil
	case name == "GroupNormalization" && l.b.G.OpVersion(n) >= 21 && n.Attrs.Int("num_groups", 0) == 1 && isFloat32(x) && imageLike(x):
		epsilon := graph.Attrs{"epsilon": n.Attrs.Float("epsilon", 1e-5)}
		l.set(n.Outputs[0], l.b.Private("GroupNormalizationLast", epsilon, l.lastOf(x), n.Inputs[1], n.Inputs[2]))
		return true, nil
	case name == "Concat":
		return l.concat(n), nil
	case name == "BatchNormalization":
		return l.batchNorm(n)
	case name == "Flatten" || name == "Reshape" || name == "Squeeze":
		return l.onePixel(n), nil
	case name == "Pad":
		return l.pad(n), nil
	}
	return false, nil
}

// unaryNames are functions of each element of input 0; other inputs are scalars.
func unaryNames() []string {
	return []string{"Relu", "Sigmoid", "Tanh", "HardSwish", "HardSigmoid", "Clip", "LeakyRelu", "Elu", "Selu", "Celu", "Gelu",
		"Swish", "Mish", "Softplus", "Softsign", "Erf", "Exp", "Log", "Sqrt", "Abs", "Neg", "Reciprocal", "Identity", "Floor", "Ceil",
		"QuantizeLinear", "DequantizeLinear"}
}

// binaryNames are functions of elements with broadcasting.
func binaryNames() []string {
	return []string{"Add", "Sub", "Mul", "Div", "Pow", "Max", "Min", "PRelu"}
}

func (l *lowering) conv(n *graph.Node) error {
	w := n.Inputs[1]
	key := packedConv{w, n.Attrs.Int("group", 1), winogradSide(n)}
	if l.packed[key] == nil {
		var err error
		if l.packed[key], err = l.packConv(key); err != nil {
			return err
		}
	}
	in := []*graph.Value{l.lastOf(n.Inputs[0]), l.packed[key]}
	if n.Input(2) != nil || n.Input(3) != nil {
		in = append(in, n.Input(2))
	}
	if n.Input(3) != nil {
		in = append(in, l.lastOf(n.Inputs[3]))
	}
	l.set(n.Outputs[0], l.b.Private("ConvLast", n.Attrs, in...))
	return nil
}

// packedConv is a weight, and the number of groups and the side of Winograd's tiles for
// which it is packed.
type packedConv struct {
	w                *graph.Value
	groups, winograd int
}

// winogradSide is the side of the tiles by which a convolution is computed, if it is one
// on images of known size for which kernel.WinogradSide has tiles; 0 else.
func winogradSide(n *graph.Node) int {
	w, height, width, ok := filterable(n)
	if !ok {
		return 0
	}
	return kernel.WinogradSide(height, width, w[1], w[0])
}

// filterable reports whether a convolution has windows that Winograd's filtering computes,
// and returns its weights' shape and the known size of its images.
func filterable(n *graph.Node) (w tensor.Shape, height, width int, ok bool) {
	w = n.Inputs[1].Const.Shape
	y := n.Outputs[0].Type.Shape
	notOne := func(v int) bool { return v != 1 }
	if len(w) != 4 || w[2] != 3 || w[3] != 3 || n.Attrs.Int("group", 1) != 1 || len(y) != 4 ||
		slices.ContainsFunc(n.Attrs.Ints("strides"), notOne) || slices.ContainsFunc(n.Attrs.Ints("dilations"), notOne) {
		return nil, 0, 0, false
	}
	size, ok := y[2:].Static()
	if !ok {
		return nil, 0, 0, false
	}
	return w, size[0], size[1], true
}

func (l *lowering) packConv(key packedConv) (*graph.Value, error) {
	w, groups, isa := key.w, key.groups, l.pool.ISA()
	t, err := w.Const.Tensor()
	if err != nil {
		return nil, err
	}
	oc, ic, kh, kw := t.Dim(0), t.Dim(1), 1, t.Dim(2)
	if t.Rank() == 4 {
		kh, kw = t.Dim(2), t.Dim(3)
	}
	name := fmt.Sprintf("%s.packed.%d", w.Name, groups)
	if w.Const.DType != tensor.Float32 {
		return l.packByteConv(key, name, t, kh, kw)
	}
	encoding, size := graph.PanelConv, kernel.ConvLastLen(oc, ic, kh, kw, groups, isa)
	fill := func(dst []byte) { kernel.PackConvLast(floats(dst), t.F32(), oc, ic, kh, kw, groups, isa) }
	if side := key.winograd; side != 0 {
		name = fmt.Sprintf("%s.winograd.%d", w.Name, side)
		encoding, size = winogradEncoding(side), kernel.WinogradLen(oc, ic, side, isa)
		fill = func(dst []byte) { kernel.PackWinograd(floats(dst), t.F32(), oc, ic, side, isa) }
	}
	data, err := l.packing(name, 4*size, fill)
	if err != nil {
		return nil, err
	}
	c := &graph.Constant{DType: tensor.Float32, Shape: t.Shape(), Encoding: encoding, Data: data}
	return &graph.Value{Name: w.Name + ".packed", Type: w.Type, Const: c}, nil
}

func winogradEncoding(side int) graph.Encoding {
	if side == 2 {
		return graph.PanelWinograd2
	}
	return graph.PanelWinograd4
}

// transpose drops one that moves the channels where they already are, and takes
// the operand of one that moves them to the front for its result.
func (l *lowering) transpose(n *graph.Node, x *graph.Value) bool {
	if !imageLike(x) {
		return false
	}
	y, perm := n.Outputs[0], n.Attrs.Ints("perm")
	rank := len(x.Type.Shape)
	if slices.Equal(perm, [][]int{{0, 2, 1}, {0, 2, 3, 1}}[rank-3]) && l.last[x] != nil {
		l.alias[y] = l.last[x]
		return true
	}
	if !slices.Equal(perm, [][]int{{0, 2, 1}, {0, 3, 1, 2}}[rank-3]) || len(l.uses[y]) == 0 {
		return false
	}
	for _, u := range l.uses[y] {
		if !lowered(u) && u.Op != toLast && !slices.Contains(binaryNames(), u.Op.Name) && !slices.Contains(unaryNames(), u.Op.Name) {
			return false
		}
	}
	l.need(x)
	l.set(y, x)
	return true
}

// broadcast lowers a function of several operands.
func (l *lowering) broadcast(n *graph.Node) bool {
	rank := len(n.Outputs[0].Type.Shape)
	in := make([]*graph.Value, len(n.Inputs))
	for i, v := range n.Inputs {
		switch {
		case v.Const != nil:
			in[i] = l.constLast(v, rank)
		case imageLike(v) && len(v.Type.Shape) == rank:
			in[i] = v
		}
		if in[i] == nil {
			return false
		}
	}
	for i, v := range in {
		if v.Const == nil {
			in[i] = l.lastOf(v)
		}
	}
	l.set(n.Outputs[0], l.b.Node(n.Op, 1, n.Attrs, in...)[0])
	return true
}

// constLast is a constant operand of a function on values of the given rank, with
// the channels last; nil if it cannot be.
func (l *lowering) constLast(v *graph.Value, rank int) *graph.Value {
	t, err := v.Const.Tensor()
	switch {
	case err != nil || t.DType() != tensor.Float32 || t.Rank() > rank:
		return nil
	case t.Len() == 1 && t.Rank() == 0:
		return v
	}
	shape := make(tensor.Shape, rank)
	for i := range shape {
		shape[i] = 1
	}
	copy(shape[rank-t.Rank():], t.Shape())
	pixels := shape[2:].Len()
	z := tensor.New(tensor.Float32, slices.Concat(shape[:1], shape[2:], shape[1:2])...)
	from, to := t.F32(), z.F32()
	for i := range to {
		image, rest := i/(pixels*shape[1]), i%(pixels*shape[1])
		to[i] = from[(image*shape[1]+rest%shape[1])*pixels+rest/shape[1]]
	}
	return l.b.Const(v.Name+".last", z)
}

// overAxes reports whether a ReduceMean is over the axes [from,until).
func overAxes(n *graph.Node, from, until int) bool {
	axes := n.Attrs.Ints("axes")
	if n.Input(1) != nil {
		if n.Inputs[1].Const == nil {
			return false
		}
		t, err := n.Inputs[1].Const.Tensor()
		if err != nil || t.DType() != tensor.Int64 {
			return false
		}
		for _, a := range t.I64() {
			axes = append(axes, int(a))
		}
	}
	var want []int
	for a := from; a < until; a++ {
		want = append(want, a)
	}
	axes = slices.Clone(axes)
	for i, a := range axes {
		if a < 0 {
			axes[i] += len(n.Inputs[0].Type.Shape)
		}
	}
	slices.Sort(axes)
	return len(want) > 0 && slices.Equal(axes, want)
}

// meanAsItIs lets the kernel for channels last take a mean over all dimensions but the
// first and the last, whatever these are.
func (l *lowering) meanAsItIs(n *graph.Node, x *graph.Value) bool {
	l.need(x)
	z := l.b.Private("GlobalAveragePoolLast", nil, x)
	if n.Attrs.Int("keepdims", 1) == 0 {
		z = l.b.Op("Flatten", nil, z)
	}
	l.emitAs(n.Outputs[0], z)
	return true
}

func (l *lowering) mean(n *graph.Node) bool {
	x := n.Inputs[0]
	if !l.virtual[x] {
		return false
	}
	z := l.b.Private("GlobalAveragePoolLast", nil, l.last[x])
	if n.Op.Name == "ReduceMean" && n.Attrs.Int("keepdims", 1) == 0 {
		l.emitAs(n.Outputs[0], l.b.Op("Flatten", nil, z))
		return true
	}
	l.set(n.Outputs[0], z)
	return true
}

// axisLast is where an axis of a value of the given rank lies with channels last.
func axisLast(axis, rank int) int {
	if axis < 0 {
		axis += rank
	}
	switch axis {
	case 0:
		return 0
	case 1:
		return rank - 1
	}
	return axis - 1
}

func (l *lowering) concat(n *graph.Node) bool {
	y := n.Outputs[0]
	for _, v := range n.Inputs {
		if !imageLike(v) {
			return false
		}
	}
	in := make([]*graph.Value, len(n.Inputs))
	for i, v := range n.Inputs {
		in[i] = l.lastOf(v)
	}
	attrs := maps.Clone(n.Attrs)
	attrs["axis"] = int64(axisLast(n.Attrs.Int("axis", 1), len(y.Type.Shape)))
	l.set(y, l.b.Op("Concat", attrs, in...))
	return true
}

// batchNorm lowers one that no convolution took in to a factor and a summand.
func (l *lowering) batchNorm(n *graph.Node) (bool, error) {
	if !l.virtual[n.Inputs[0]] || !imageLike(n.Inputs[0]) {
		return false, nil
	}
	scale, shift, ok, err := affine(n)
	if !ok || err != nil {
		return false, err
	}
	z := l.b.Op("Mul", nil, l.last[n.Inputs[0]], l.b.Const("scale", tensor.Of(scale, len(scale))))
	l.set(n.Outputs[0], l.b.Op("Add", nil, z, l.b.Const("shift", tensor.Of(shift, len(shift)))))
	return true, nil
}

// onePixel lets an operator that only changes the shape read an image of one pixel
// whose elements are in the same order in either layout.
func (l *lowering) onePixel(n *graph.Node) bool {
	x, y := n.Inputs[0], n.Outputs[0]
	if !l.virtual[x] || len(y.Type.Shape) != 2 || !y.Type.Shape[0].Equal(x.Type.Shape[0]) {
		return false
	}
	for _, d := range x.Type.Shape[2:] {
		if !d.Is(1) {
			return false
		}
	}
	l.emitAs(y, l.b.Op("Flatten", nil, l.last[x]))
	return true
}

// pad lowers a Pad whose amounts are known.
func (l *lowering) pad(n *graph.Node) bool {
	x := n.Inputs[0]
	if !l.virtual[x] || n.Input(3) != nil || n.Input(1) == nil || n.Inputs[1].Const == nil {
		return false
	}
	t, err := n.Inputs[1].Const.Tensor()
	rank := len(x.Type.Shape)
	if err != nil || t.DType() != tensor.Int64 || t.Len() != 2*rank {
		return false
	}
	pads := make([]int64, 2*rank)
	for axis := range rank {
		pads[axisLast(axis, rank)], pads[rank+axisLast(axis, rank)] = t.I64()[axis], t.I64()[rank+axis]
	}
	in := slices.Clone(n.Inputs)
	in[0], in[1] = l.last[x], l.b.Const("pads", tensor.Of(pads, len(pads)))
	l.set(n.Outputs[0], l.b.Node(n.Op, 1, n.Attrs, in...)[0])
	return true
}
