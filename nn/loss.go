package nn

import (
	"fmt"

	"tandem/graph"
)

// CrossEntropy adds the mean cross-entropy of class probabilities [..., classes]
// with labels, int64 [...], and the count of rows whose most probable class is the
// label.
func CrossEntropy(b *graph.Builder, output, labels *graph.Value) (loss, correct *graph.Value) {
	return ClassLoss{}.OfSoftmax(b, output, labels)
}

// OfSoftmax adds the loss of class probabilities [..., classes] with labels, int64
// [...], and the count of rows whose most probable class is the label. The output must be
// a Softmax: the loss is computed from the scores that it takes, which is exact for
// improbable labels too.
func (l ClassLoss) OfSoftmax(b *graph.Builder, output, labels *graph.Value) (loss, correct *graph.Value) {
	if output.Def == nil || output.Def.Op != (graph.OpID{Name: "Softmax"}) {
		b.Fail(fmt.Errorf("the loss of classification needs an output by Softmax, %s is not one", output.Name))
		return output, output
	}
	scores := output.Def.Inputs[0]
	if s := scores.Type.Shape; len(s) > 2 {
		classes, _ := s[len(s)-1].Value()
		scores = b.Op("Reshape", nil, scores, b.Ints("rows", -1, int64(classes)))
		labels = b.Op("Reshape", nil, labels, b.Ints("row", -1))
	}
	if l.Smoothing == 0 && l.Focus == 0 && l.Weights == nil {
		loss = b.Node(graph.OpID{Name: "SoftmaxCrossEntropyLoss"}, 2, nil, scores, labels)[0]
	} else {
		loss = l.Build(b, scores, labels)
	}
	return loss, b.Private("CountCorrect", nil, scores, labels)
}
