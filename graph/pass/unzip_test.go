package pass_test

import (
	"testing"

	"tandem/graph"
	"tandem/graph/op"
	"tandem/graph/pass"
	"tandem/tensor"
)

func TestUnzip(t *testing.T) {
	b := newBuilder(t)
	b.G.Opset["ai.onnx.ml"] = 1
	x := b.Input("x", tensor.Float32, graph.Sym("n"), graph.Const(2))
	zip := func(name string) *graph.Value {
		v := b.Node(graph.OpID{Domain: "ai.onnx.ml", Name: "ZipMap"}, 1, graph.Attrs{"classlabels_int64s": []int64{3, 4}}, b.node("p"+name, "Softmax", x))[0]
		v.Name = name
		return v
	}
	b.Output(zip("scores"))
	read := zip("read")
	b.Output(b.node("count", "SequenceLength", read))
	check(t, b.G, pass.Unzip(), `
pscores = Softmax(x)
scores = Identity(pscores)
pread = Softmax(x)
read = ai.onnx.ml.ZipMap(pread)
count = SequenceLength(read)
-> scores, count
`)
	if err := graph.InferTypes(b.G, op.Default()); err != nil || b.G.Outputs[0].Type.String() != "float32[n, 2]" {
		t.Errorf("scores are %v (%v)", b.G.Outputs[0].Type, err)
	}
}
