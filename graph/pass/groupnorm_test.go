package pass_test

import (
	"testing"

	"tandem/graph"
	"tandem/graph/pass"
	"tandem/tensor"
)

// TestFuseGroupNorm: two groups of four channels of lines, one of images; and what is no
// constant for each channel, or has a scale for each group.
func TestFuseGroupNorm(t *testing.T) {
	b := newBuilder(t)
	norm := func(name string, x *graph.Value, groups int64, scale float32) *graph.Value {
		one, zero := tensor.New(tensor.Float32, int(groups)), tensor.New(tensor.Float32, int(groups))
		for i := range one.F32() {
			one.F32()[i] = scale
		}
		rows := b.node(name+"r", "Reshape", x, b.Ints("groups", 0, groups, -1))
		rows = b.op(name+"i", "InstanceNormalization", graph.Attrs{"epsilon": float32(1e-3)}, rows, b.Const("ones", one), b.Const("zeros", zero))
		return b.node(name+"n", "Reshape", rows, b.node(name+"s", "Shape", x))
	}
	x := b.Input("x", tensor.Float32, graph.Sym("batch"), graph.Const(4), graph.Const(9))
	y := b.node("y", "Add", b.node("m", "Mul", norm("a", x, 2, 1), b.floats("scale", 4, 1)), b.floats("bias", 1, 4, 1))
	b.Output(y)
	image := b.Input("image", tensor.Float32, graph.Sym("batch"), graph.Const(4), graph.Sym("height"), graph.Const(5))
	b.Output(b.node("z", "Add", b.floats("bias2", 4, 1, 1), b.node("m2", "Mul", b.floats("scale2", 4, 1, 1), norm("b", image, 1, 1))))
	b.Output(b.node("u", "Add", b.node("m3", "Mul", norm("c", x, 2, 1), b.floats("scale3", 4, 9)), b.floats("bias3", 4, 1)))
	b.Output(b.node("v", "Add", b.node("m4", "Mul", norm("d", x, 2, 3), b.floats("scale4", 4, 1)), b.floats("bias4", 4, 1)))
	check(t, b.G, pass.FuseGroupNorm(), `
y = GroupNormalization(x, scale_1, bias_1)
z = GroupNormalization(image, scale_2, bias_2)
cr = Reshape(x, groups_2)
ci = InstanceNormalization(cr, ones_2, zeros_2)
cs = Shape(x)
cn = Reshape(ci, cs)
m3 = Mul(cn, scale3)
u = Add(m3, bias3)
dr = Reshape(x, groups_3)
di = InstanceNormalization(dr, ones_3, zeros_3)
ds = Shape(x)
dn = Reshape(di, ds)
m4 = Mul(dn, scale4)
v = Add(m4, bias4)
-> y, z, u, v
`)
	for i, groups := range []int{2, 1} {
		if n := b.G.Nodes[i]; n.Attrs.Int("num_groups", 0) != groups || n.Attrs.Float("epsilon", 0) != 1e-3 || n.Version != 21 {
			t.Errorf("node %d: %v, version %d", i, n.Attrs, n.Version)
		}
	}
}
