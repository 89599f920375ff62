package nn

import (
	"fmt"

	"tandem/graph"
	"tandem/tensor"
)

// Losses are functions that add nodes computing a scalar, the mean over all
// elements or rows. Predictions and targets of regression have one shape; scores
// are [rows, classes] before a softmax, and labels int64 [rows].

func mean(b *graph.Builder, x *graph.Value) *graph.Value {
	return b.Op("ReduceMean", graph.Attrs{"keepdims": int64(0)}, x)
}

// total is the sum of all elements, or over the last dimension.
func total(b *graph.Builder, x *graph.Value) *graph.Value {
	return b.Op("ReduceSum", graph.Attrs{"keepdims": int64(0)}, x)
}

func rowTotal(b *graph.Builder, x *graph.Value) *graph.Value {
	return b.Op("ReduceSum", graph.Attrs{"keepdims": int64(0)}, x, b.Ints("axis", -1))
}

func times(b *graph.Builder, x *graph.Value, factor float32) *graph.Value {
	return b.Op("Mul", nil, x, b.Scalar("factor", factor))
}

// oneShape fails where two values have not one shape: of [rows,1] and [rows] there would
// be the differences of all pairs.
func oneShape(b *graph.Builder, x, y *graph.Value) bool {
	s, t := x.Type.Shape, y.Type.Shape
	if !x.Type.Known() || !y.Type.Known() {
		return true
	}
	same := len(s) == len(t)
	for i := 0; same && i < len(s); i++ {
		m, known := s[i].Value()
		n, too := t[i].Value()
		same = !known || !too || m == n
	}
	if !same {
		b.Fail(fmt.Errorf("the loss takes an output and a target of one shape, they have %v and %v", s, t))
	}
	return same
}

func difference(b *graph.Builder, x, y *graph.Value) *graph.Value {
	if !oneShape(b, x, y) {
		return x
	}
	return b.Op("Sub", nil, x, y)
}

// MSE is the mean squared error.
func MSE(b *graph.Builder, output, target *graph.Value) *graph.Value {
	d := difference(b, output, target)
	return mean(b, b.Op("Mul", nil, d, d))
}

// MAE is the mean absolute error.
func MAE(b *graph.Builder, output, target *graph.Value) *graph.Value {
	return mean(b, b.Op("Abs", nil, difference(b, output, target)))
}

// Huber is d²/2 for errors up to delta and delta·(|d| - delta/2) beyond (1964).
func Huber(b *graph.Builder, output, target *graph.Value, delta float32) *graph.Value {
	size := b.Op("Abs", nil, difference(b, output, target))
	inner := b.Op("Min", nil, size, b.Scalar("delta", delta))
	outer := b.Op("Sub", nil, size, inner)
	return mean(b, b.Op("Add", nil, times(b, b.Op("Mul", nil, inner, inner), 0.5), times(b, outer, delta)))
}

// Quantile is the pinball loss: q·d where the target is above the output by d, and
// (q-1)·d where it is below (Koenker and Bassett, 1978).
func Quantile(b *graph.Builder, output, target *graph.Value, q float32) *graph.Value {
	d := difference(b, target, output)
	return mean(b, b.Op("Max", nil, times(b, d, q), times(b, d, q-1)))
}

// BinaryCrossEntropy is for scores before a sigmoid and targets from 0 to 1.
func BinaryCrossEntropy(b *graph.Builder, scores, target *graph.Value) *graph.Value {
	if !oneShape(b, scores, target) {
		return scores
	}
	return mean(b, b.Op("Sub", nil, b.Op("Softplus", nil, scores), b.Op("Mul", nil, scores, target)))
}

// ClassLoss is cross-entropy with its usual changes. The zero value is the mean of
// -log softmax(scores)[label].
type ClassLoss struct {
	Smoothing float32   // share of the target spread over all classes (Szegedy et al., 2016)
	Weights   []float32 // of the classes; the mean is weighted too
	Focus     float32   // gamma of the focal loss: each row times (1 - p)^gamma (Lin et al., 2017)
}

// Build adds the loss.
func (l ClassLoss) Build(b *graph.Builder, scores, labels *graph.Value) *graph.Value {
	shape := scores.Type.Shape
	if len(shape) != 2 {
		b.Fail(fmt.Errorf("the loss takes scores of 2 dimensions, they have shape %v", shape))
		return scores
	}
	classes, ok := shape[1].Value()
	if !ok || l.Weights != nil && len(l.Weights) != classes || l.Smoothing < 0 || l.Smoothing >= 1 || l.Focus < 0 {
		b.Fail(fmt.Errorf("scores of shape %v do not fit %d weights, smoothing %v and focus %v", shape, len(l.Weights), l.Smoothing, l.Focus))
		return scores
	}
	logs := b.Op("LogSoftmax", nil, scores)
	hot := b.Op("OneHot", nil, labels, b.Const("classes", tensor.Scalar(int64(classes))), b.Const("zero_one", tensor.Of([]float32{0, 1}, 2)))
	target := hot
	if l.Smoothing > 0 {
		target = b.Op("Add", nil, times(b, hot, 1-l.Smoothing), b.Scalar("spread", l.Smoothing/float32(classes)))
	}
	if l.Weights != nil {
		w := b.Const("class_weights", tensor.Of(l.Weights, classes))
		target, hot = b.Op("Mul", nil, target, w), b.Op("Mul", nil, hot, w)
	}
	if l.Focus > 0 {
		// A p that rounds to 1 counts as one just below: a gamma below 1 has no
		// derivative at 0.
		missing := b.Op("Max", nil, b.Op("Sub", nil, b.Scalar("one", 1), b.Op("Exp", nil, logs)), b.Scalar("least", 0x1p-25))
		logs = b.Op("Mul", nil, logs, b.Op("Pow", nil, missing, b.Scalar("gamma", l.Focus)))
	}
	sum := total(b, b.Op("Mul", nil, target, logs))
	return b.Op("Neg", nil, b.Op("Div", nil, sum, total(b, hot)))
}

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

// Triplet is max(0, |a-p| - |a-n| + margin) for rows of anchors, positives and
// negatives (Schroff et al., 2015).
func Triplet(b *graph.Builder, anchor, positive, negative *graph.Value, margin float32) *graph.Value {
	distance := func(x, y *graph.Value) *graph.Value {
		d := b.Op("Add", nil, b.Op("Sub", nil, x, y), b.Scalar("small", 1e-6))
		return b.Op("Sqrt", nil, rowTotal(b, b.Op("Mul", nil, d, d)))
	}
	gap := b.Op("Sub", nil, distance(anchor, positive), distance(anchor, negative))
	return mean(b, b.Op("Relu", nil, b.Op("Add", nil, gap, b.Scalar("margin", margin))))
}

// Contrastive is InfoNCE: row i of x belongs to row i of y among all rows of y, by
// the cosine of their angle over a temperature (Radford et al., 2021, one way).
func Contrastive(b *graph.Builder, x, y *graph.Value, temperature float32) *graph.Value {
	unit := func(v *graph.Value) *graph.Value {
		axis := b.Ints("axis", -1)
		size := b.Op("ReduceL2", graph.Attrs{"keepdims": int64(1)}, v, axis)
		return b.Op("Div", nil, v, b.Op("Max", nil, size, b.Scalar("least", 1e-12))) // a row of zeros stays one
	}
	scores := times(b, b.Op("MatMul", nil, unit(x), b.Op("Transpose", graph.Attrs{"perm": []int64{1, 0}}, unit(y))), 1/temperature)
	own := rowTotal(b, b.Op("Mul", nil, unit(x), unit(y)))
	all := b.Op("ReduceLogSumExp", graph.Attrs{"keepdims": int64(0)}, scores, b.Ints("axis", -1))
	return mean(b, b.Op("Sub", nil, all, times(b, own, 1/temperature)))
}

// Distillation is the divergence of a student's softened classes from a teacher's,
// times the squared temperature (Hinton et al., 2015). The teacher gets no gradient
// if its scores do not depend on parameters that are trained.
func Distillation(b *graph.Builder, student, teacher *graph.Value, temperature float32) *graph.Value {
	s := b.Op("LogSoftmax", nil, times(b, student, 1/temperature))
	t := b.Op("LogSoftmax", nil, times(b, teacher, 1/temperature))
	rows := rowTotal(b, b.Op("Mul", nil, b.Op("Exp", nil, t), b.Op("Sub", nil, t, s)))
	return times(b, mean(b, rows), temperature*temperature)
}

// CTC is the loss of sequences that are not aligned with their texts (Graves et al.,
// 2006): scores [steps, batch, classes] before a softmax, labels int64 [batch,
// letters], and how many steps and letters count, int64 [batch]. Class blank stands
// between letters. The loss of a sequence is divided by its letters, and the mean
// taken, as PyTorch does. A sequence too short for its text gives +Inf.
func CTC(b *graph.Builder, scores, labels, steps, letters *graph.Value, blank int) *graph.Value {
	logs := b.Op("LogSoftmax", graph.Attrs{"axis": int64(-1)}, scores)
	each := b.Private("CTCLoss", graph.Attrs{"blank": int64(blank)}, logs, labels, steps, letters)
	count := b.Op("Max", nil, b.Op("Cast", graph.Attrs{"to": int64(tensor.Float32)}, letters), b.Scalar("one", 1))
	return mean(b, b.Op("Div", nil, each, count))
}
