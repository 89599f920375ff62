package op

import (
	"fmt"

	"tandem/graph"
	"tandem/graph/op/control"
	"tandem/graph/op/ml"
	"tandem/graph/op/move"
	"tandem/graph/op/picture"
	"tandem/graph/op/text"
	"tandem/tensor"
)

// Lists are the operators by family, in the groups of the package comment.
func Lists() [][]graph.Op {
	return [][]graph.Op{
		elementwiseOps(), mathOps(), foldOps(), logicOps(), activationOps(), castOps(),
		reduceOps(), cumulativeOps(), cumulativeGradOps(), softmaxOps(), orderOps(), uniqueOps(),
		shapeOps(), makeOps(), axesOps(), joinOps(), sliceOps(), gatherOps(), scatterOps(), padOps(), move.Ops(),
		gemmOps(), matmulOps(), linearOps(), projectionOps(), einsumOps(),
		quantizeOps(), integerOps(), integerConvOps(),
		convOps(), transposeConvOps(), deformOps(), poolOps(), channelsLastOps(),
		resizeOps(), resizeGradOps(), sampleOps(), sampleGradOps(), detectOps(), signalOps(),
		normalizeOps(), groupGradOps(), batchNormOps(), batchNormTrainOps(), layerNormOps(),
		attentionOps(), stridedAttentionOps(), jointAttentionOps(), linearAttentionOps(),
		rotaryOps(), pagedOps(), recurrentOps(),
		dropoutOps(), randomOps(), lossOps(), lossGradOps(), ctcOps(), optimizerOps(), trainingOps(),
		microsoftNormOps(), microsoftAttentionOps(), microsoftMatrixOps(),
		nbitsOps(), blockGatherOps(), expertsOps(), qLinearOps(),
		control.Ops(), ml.Ops(), text.Ops(), picture.Ops(),
	}
}

// Default makes the table of all operators.
func Default() *graph.Table { return graph.NewTable(Lists()...) }

func onnx(name string) graph.OpID      { return graph.OpID{Name: name} }
func microsoft(name string) graph.OpID { return graph.OpID{Domain: "com.microsoft", Name: name} }
func private(name string) graph.OpID   { return graph.OpID{Domain: graph.Private, Name: name} }

// sameAs is the shape rule of an operator whose output 0 is like one input.
func sameAs(input, min, max int) func(*graph.Infer) error {
	return func(c *graph.Infer) error {
		if err := c.Require(min, max); err != nil {
			return err
		}
		c.Out(0, c.In(input).DType, c.In(input).Shape)
		return nil
	}
}

// floatPair is the rule of operators of two inputs that compute on float32 alone: the
// output is like input 0.
func floatPair(c *graph.Infer) error {
	if err := sameAs(0, 2, 2)(c); err != nil {
		return err
	}
	return c.Floats(0)
}

// scalarOf is the one element of a constant input, or def where it is absent.
func scalarOf(c *graph.Infer, input int, def float32) (float32, error) {
	if !c.Has(input) {
		return def, nil
	}
	t, ok := c.Constant(input)
	if !ok || t.DType() != tensor.Float32 || t.Len() != 1 {
		return 0, fmt.Errorf("input %d (%s) must be a constant float32 scalar", input, c.Node.Inputs[input].Name)
	}
	return t.F32()[0], nil
}
