package optest

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"tandem/graph"
	"tandem/graph/op"
	"tandem/tensor"
)

// Apply runs one node of any domain, whose inputs' types and shapes are known when the
// graph is compiled. Inputs that are nil are absent.
func Apply(t *testing.T, id graph.OpID, outputs int, a graph.Attrs, in ...*tensor.Tensor) ([]*tensor.Tensor, error) {
	t.Helper()
	g := &graph.Graph{Opset: graph.Opsets()}
	g.Opset["ai.onnx.ml"] = 5
	b := graph.Extend(g, op.Default())
	var values []*graph.Value
	var given []*tensor.Tensor
	for i, x := range in {
		if x == nil {
			values = append(values, nil)
			continue
		}
		v := b.Input(fmt.Sprint("x", i), x.DType(), graph.Dims(x.Shape()...)...)
		if x.DType().List() {
			v.Type = graph.Type{DType: x.DType()}
		}
		values, given = append(values, v), append(given, x)
	}
	for _, y := range b.Node(id, outputs, a, values...) {
		b.Output(y)
	}
	if b.Err() != nil {
		return nil, b.Err()
	}
	return Try(t, g, graph.Options{Pool: pool(t, 2)}, given...)
}

// Text writes values as text: type, shape and elements.
func Text(list ...*tensor.Tensor) string {
	var parts []string
	for _, x := range list {
		switch x.DType() {
		case tensor.Sequence:
			parts = append(parts, "["+Text(x.Items()...)+"]")
		case tensor.Optional:
			parts = append(parts, "?("+Text(x.Items()...)+")")
		case tensor.Float32:
			parts = append(parts, fmt.Sprint(x.Shape(), x.F32()))
		case tensor.Int64:
			parts = append(parts, fmt.Sprint(x.Shape(), x.I64()))
		case tensor.String:
			parts = append(parts, fmt.Sprintf("%v%q", x.Shape(), x.Strings()))
		default:
			parts = append(parts, fmt.Sprint(x.DType(), x.Shape(), x.Bytes()))
		}
	}
	return strings.Join(parts, "; ")
}

// Row is a row of a table of nodes and what they give: values as Text writes them, or an
// error that contains the text. (An alias, so that tables may leave out the keys.)
type Row = struct {
	Op    string
	Attrs graph.Attrs
	In    []*tensor.Tensor
	Want  string
}

// Rows applies the operator of each row, of the given domain, and compares.
func Rows(t *testing.T, domain string, outputs int, rows []Row) {
	t.Helper()
	for _, r := range rows {
		out, err := Apply(t, graph.OpID{Domain: domain, Name: r.Op}, outputs, r.Attrs, r.In...)
		if err != nil {
			if !strings.Contains(err.Error(), r.Want) {
				t.Errorf("%s %v of %s: %v, want %s", r.Op, r.Attrs, Text(present(r.In)...), err, r.Want)
			}
			continue
		}
		if got := Text(out...); got != r.Want {
			t.Errorf("%s %v of %s: %s, want %s", r.Op, r.Attrs, Text(present(r.In)...), got, r.Want)
		}
	}
}

func present(in []*tensor.Tensor) []*tensor.Tensor {
	return slices.DeleteFunc(slices.Clone(in), func(x *tensor.Tensor) bool { return x == nil })
}
