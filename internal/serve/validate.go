package serve

import (
	"fmt"
	"strings"

	"tandem/fault"
	"tandem/model"
	"tandem/tensor"
)

// Input is one named tensor of a request.
type Input struct {
	Name   string
	Tensor *tensor.Tensor
}

// arrange checks inputs against a signature and returns the tensors in its order,
// and the number of rows: 1 where they do not form a batch. Every
// error names the input, what was expected and what came.
func arrange(sig *model.Signature, batch bool, inputs []Input) ([]*tensor.Tensor, int, error) {
	ordered := make([]*tensor.Tensor, len(sig.Inputs))
	for k, in := range inputs {
		i := k // most come in the signature's order
		if k >= len(sig.Inputs) || sig.Inputs[k].Name != in.Name {
			i = indexOf(sig.Inputs, in.Name)
		}
		if i < 0 {
			return nil, 0, invalid("the model has no input %q: its inputs are %s", in.Name, names(sig.Inputs))
		}
		if ordered[i] != nil {
			return nil, 0, invalid("input %q is given twice", in.Name)
		}
		ordered[i] = in.Tensor
	}
	rows, first := 1, -1
	for i := range sig.Inputs {
		spec, t := &sig.Inputs[i], ordered[i]
		if t == nil {
			return nil, 0, invalid("input %q is missing: the model's inputs are %s", spec.Name, names(sig.Inputs))
		}
		if err := matches(spec, t); err != nil {
			return nil, 0, err
		}
		if !batch {
			continue
		}
		switch n := t.Dim(0); {
		case n == 0:
			return nil, 0, invalid("input %q has shape %s: a batch needs at least one row", spec.Name, dims(t.Shape()))
		case first < 0:
			rows, first = n, i
		case n != rows:
			return nil, 0, invalid("input %q has %d rows and input %q has %d: the batch dimensions must be the same",
				spec.Name, n, sig.Inputs[first].Name, rows)
		}
	}
	return ordered, rows, nil
}

// matches checks element type, rank and fixed dimensions.
func matches(spec *model.TensorSpec, t *tensor.Tensor) error {
	if want := spec.Type(); t.DType() != want {
		return invalid("input %q has elements of type %v: expected %s", spec.Name, t.DType(), spec.DType)
	}
	if t.Rank() != len(spec.Shape) {
		return invalid("input %q has shape %s with %d dimensions: expected %d, as in %s",
			spec.Name, dims(t.Shape()), t.Rank(), len(spec.Shape), dims(spec.Shape))
	}
	for i, want := range spec.Shape {
		if got := t.Dim(i); want >= 0 && got != want {
			return invalid("input %q has shape %s: dimension %d is %d, expected %d, as in %s",
				spec.Name, dims(t.Shape()), i, got, want, dims(spec.Shape))
		}
	}
	return nil
}

// classOf tells apart the requests that cannot join: it spells the dimensions that
// the signature leaves open, the first one excepted.
func classOf(sig *model.Signature, inputs []*tensor.Tensor) string {
	var b []byte
	for i := range sig.Inputs {
		for d, size := range sig.Inputs[i].Shape {
			if d > 0 && size < 0 {
				b = fmt.Appendf(b, "%d.%d=%d,", i, d, inputs[i].Dim(d))
			}
		}
	}
	return string(b)
}

// joinable tells whether rows of separate requests may share a step: the batch
// dimension must be open, and a row of every tensor must take whole bytes.
func joinable(sig *model.Signature) bool {
	if !sig.Batch {
		return false
	}
	for _, specs := range [][]model.TensorSpec{sig.Inputs, sig.Outputs} {
		for _, s := range specs {
			d := s.Type()
			if len(s.Shape) == 0 || s.Shape[0] >= 0 || (d != tensor.String && d.Bits()%8 != 0) {
				return false
			}
		}
	}
	return len(sig.Inputs) > 0
}

func indexOf(specs []model.TensorSpec, name string) int {
	for i := range specs {
		if specs[i].Name == name {
			return i
		}
	}
	return -1
}

func names(specs []model.TensorSpec) string {
	const most = 50
	quoted := make([]string, min(len(specs), most))
	for i := range quoted {
		quoted[i] = fmt.Sprintf("%q", specs[i].Name)
	}
	if more := len(specs) - most; more > 0 {
		quoted = append(quoted, fmt.Sprintf("… (%d more)", more))
	}
	return strings.Join(quoted, ", ")
}

// dims prints a shape as the protocols write it: [-1,4].
func dims(shape []int) string {
	return strings.ReplaceAll(fmt.Sprint(shape), " ", ",")
}

func invalid(format string, args ...any) error {
	return fault.New("serve.validate", fault.Invalid, format, args...)
}
