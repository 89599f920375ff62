package ml

import (
	"fmt"

	"tandem/graph"
)

// classifier turns the scores of a row into a label and the scores that are shown.
type classifier struct {
	labels labels
	post   transform
	// One score for two classes: that of the second. In the first form it is a
	// probability, decided at one half; in the other it is decided at zero.
	binary, positive bool
}

func classifierOf(a graph.Attrs, ints string) (*classifier, error) {
	l, err := labelsOf(a, ints)
	if err != nil {
		return nil, err
	}
	post, err := transformOf(a)
	return &classifier{labels: l, post: post}, err
}

// two are the scores of both classes from that of the second, as ONNX Runtime
// gives them: a transform other than LOGISTIC and PROBIT is not applied.
func (k *classifier) two(name string, score float64) [2]float64 {
	switch {
	case name == "PROBIT":
		p := probit(score)
		return [2]float64{p, p}
	case name == "LOGISTIC":
		return [2]float64{logistic(-score), logistic(score)}
	case k.positive:
		return [2]float64{1 - score, score}
	}
	return [2]float64{-score, score}
}

func inferTreeClassifier(c *graph.Infer) error {
	rows, err := matrixRows(c)
	if err != nil {
		return err
	}
	l, err := labelsOf(c.Node.Attrs, "classlabels_int64s")
	if err != nil {
		return err
	}
	if l.len() < 2 {
		return fmt.Errorf("it has %d class, at least two are expected", l.len())
	}
	setClasses(c, rows, l, graph.Const(l.len()))
	return nil
}

func kernelTreeClassifier(c *graph.Call) (func() error, error) {
	a := c.Node.Attrs
	f, err := graph.Derive(c, treesOf1("class"))
	if err != nil {
		return nil, err
	}
	k, err := classifierOf(a, "classlabels_int64s")
	if err != nil {
		return nil, err
	}
	n, base := k.labels.len(), attrFloats(a, "base_values")
	if m := len(base); m != 0 && m != n && (m != 1 || n != 2) {
		return nil, fmt.Errorf("%d base values for %d classes", m, n)
	}
	name := a.String("post_transform", "NONE")
	k.binary, k.positive = n == 2 && f.only >= 0 && f.only < n, !f.negative
	return treeRun(c, &f.forest, n, sumUp, func(row int, scores []float64, given []bool) {
		for i, b := range base {
			scores[i] += b
			given[i] = true
		}
		// ONNX Runtime labels two classes with scores of their own 0 or 1, by the
		// second score alone; the reference takes the larger, and so does this.
		label := bestClass(scores, given)
		if k.binary {
			score := scores[f.only]
			if len(base) == 2 { // the score counts for the second class
				score += base[1] - base[f.only]
			}
			limit := 0.0
			if k.positive {
				limit = 0.5
			}
			label = 0
			if score > limit {
				label = 1
			}
			pair := k.two(name, score)
			scores = pair[:]
		} else {
			k.post.apply(scores)
		}
		k.labels.put(outputOf(c, 0), row, label)
		if z := outputOf(c, 1); z != nil {
			putNumbers(z, row*n, scores)
		}
	})
}

// bestClass is the class with the largest score among those that have one.
func bestClass(scores []float64, given []bool) int {
	at := -1
	for i, v := range scores {
		if given[i] && (at < 0 || v > scores[at]) {
			at = i
		}
	}
	return max(at, 0)
}
