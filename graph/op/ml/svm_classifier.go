package ml

import (
	"fmt"
	"math"

	"tandem/graph"
)

// svmClassifier decides between each pair of classes and counts (SVC), or takes
// the largest of a sum for each class (linear).
type svmClassifier struct {
	*svm
	k            *classifier
	name         string // of the transform
	per, start   []int  // support vectors of each class
	probA, probB []float64

	scores, votes, pairs, q []float64
}

// shownScores is how many scores a row has: for pairs, or for classes; one score of
// two classes is shown as two.
func shownScores(a graph.Attrs, l labels) int {
	n := l.len()
	scores := n
	if len(a.Ints("vectors_per_class")) > 0 && len(attrFloats(a, "prob_a")) == 0 {
		scores = n * (n - 1) / 2
	}
	if scores == 1 && n == 2 {
		return 2
	}
	return scores
}

func inferSVMClassifier(c *graph.Infer) error {
	rows, err := matrixRows(c)
	if err != nil {
		return err
	}
	l, err := labelsOf(c.Node.Attrs, "classlabels_ints")
	if err != nil {
		return err
	}
	setClasses(c, rows, l, graph.Const(shownScores(c.Node.Attrs, l)))
	return nil
}

func newSVMClassifier(c *graph.Call) (*svmClassifier, error) {
	a := c.Node.Attrs
	k, err := classifierOf(a, "classlabels_ints")
	if err != nil {
		return nil, err
	}
	s := &svmClassifier{k: k, name: a.String("post_transform", "NONE"), per: a.Ints("vectors_per_class"),
		probA: attrFloats(a, "prob_a"), probB: attrFloats(a, "prob_b")}
	count, n := 0, k.labels.len()
	for _, m := range s.per {
		if m < 0 || m > maxTargets {
			return nil, fmt.Errorf("vectors_per_class has %d", m)
		}
		s.start = append(s.start, count)
		count += m
	}
	if s.svm, err = svmOf(c, count); err != nil {
		return nil, err
	}
	pairs := n * (n - 1) / 2
	switch {
	case count == 0 && len(s.coef) != n*s.in.width:
		return nil, fmt.Errorf("%d coefficients for %d classes and %d features", len(s.coef), n, s.in.width)
	case count > 0 && (len(s.per) != n || len(s.coef) != (n-1)*count || len(s.rho) < pairs || n < 2):
		return nil, fmt.Errorf("%d numbers of vectors, %d coefficients and %d in rho, for %d classes and %d support vectors", len(s.per), len(s.coef), len(s.rho), n, count)
	case len(s.probA) != len(s.probB) || len(s.probA) > 0 && len(s.probA) < pairs:
		return nil, fmt.Errorf("prob_a has %d numbers, prob_b %d, for %d pairs of classes", len(s.probA), len(s.probB), pairs)
	}
	s.votes, s.pairs = make([]float64, n), make([]float64, n*n)
	s.scores, s.q = make([]float64, max(n, pairs)), make([]float64, n*n+2*n)
	return s, nil
}

func kernelSVMClassifier(c *graph.Call) (func() error, error) {
	s, err := newSVMClassifier(c)
	if err != nil {
		return nil, err
	}
	shown := shownScores(c.Node.Attrs, s.k.labels)
	return func() error {
		for i := range s.in.rows {
			c.Pool.Look()
			scores, top, weight := s.row(s.in.next(i))
			label, scores := s.decide(scores, top, weight)
			if label >= 0 {
				s.k.labels.put(outputOf(c, 0), i, label)
			} else {
				s.k.labels.putOther(outputOf(c, 0), i, 0)
			}
			if z := outputOf(c, 1); z != nil {
				putNumbers(z, i*shown, scores)
			}
		}
		return nil
	}, nil
}

// row computes the scores of a row, and the class that is ahead by how much.
func (s *svmClassifier) row(x []float64) (scores []float64, top int, weight float64) {
	n := s.k.labels.len()
	if len(s.kernels) == 0 {
		for j := range n {
			s.scores[j] = s.rho[0] + dot64(x, s.coef[j*s.in.width:][:s.in.width])
		}
		top = argmax(s.scores[:n])
		return s.scores[:n], top, s.scores[top]
	}
	pairs := s.decidePairs(x)
	top = argmax(s.votes)
	weight = s.votes[top]
	if len(s.probA) > 0 {
		s.probabilities(pairs)
		pairs = s.scores[:n] // the votes decide all the same
	}
	return pairs, top, weight
}

// decidePairs lets each pair of classes compete.
func (s *svmClassifier) decidePairs(x []float64) []float64 {
	n, count := s.k.labels.len(), len(s.kernels)
	s.compare(x)
	clear(s.votes)
	at := 0
	for i := range n {
		for j := i + 1; j < n; j++ {
			ki, kj := s.kernels[s.start[i]:][:s.per[i]], s.kernels[s.start[j]:][:s.per[j]]
			score := s.rho[at] + dot64(ki, s.coef[(j-1)*count+s.start[i]:]) + dot64(kj, s.coef[i*count+s.start[j]:])
			s.scores[at] = score
			at++
			if score > 0 {
				s.votes[i]++
			} else {
				s.votes[j]++
			}
		}
	}
	return s.scores[:at]
}

// decide makes a label and the scores that are shown. A machine that knows one
// class gives label -1 where the score speaks against it.
func (s *svmClassifier) decide(scores []float64, top int, weight float64) (int, []float64) {
	n := s.k.labels.len()
	if n == 1 && weight <= 0 {
		top = -1
	}
	if len(scores) == 1 && n == 2 {
		s.k.positive = s.name != "NONE"
		pair := s.k.two(s.name, scores[0])
		return top, pair[:]
	}
	s.k.post.apply(scores)
	return top, scores
}

// probabilities of the classes from the scores of pairs: Wu, Lin and Weng,
// "Probability Estimates for Multi-class Classification by Pairwise Coupling",
// 2004, second method, as libsvm has it.
func (s *svmClassifier) probabilities(scores []float64) {
	const least = 1e-7
	n, at := s.k.labels.len(), 0
	r := s.pairs
	for i := range n {
		for j := i + 1; j < n; j++ {
			p := 1 - logistic(scores[at]*s.probA[at]+s.probB[at])
			p = min(max(p, least), 1-least)
			r[i*n+j], r[j*n+i] = p, 1-p
			at++
		}
	}
	q, qp, p := s.q[:n*n], s.q[n*n:][:n], s.q[n*n+n:]
	for t := range n {
		p[t], q[t*n+t] = 1/float64(n), 0
		for j := range n {
			if j != t {
				q[t*n+t] += r[j*n+t] * r[j*n+t]
				q[t*n+j] = -r[j*n+t] * r[t*n+j]
			}
		}
	}
	couple(q, qp, p)
	copy(s.scores, p)
}

// couple finds the p that minimises pᵀQp with Σp = 1.
func couple(q, qp, p []float64) {
	n := len(p)
	for range max(100, n) {
		pqp := 0.0
		for t := range n {
			qp[t] = dot64(p, q[t*n:])
			pqp += p[t] * qp[t]
		}
		worst := 0.0
		for t := range n {
			worst = max(worst, math.Abs(qp[t]-pqp))
		}
		if worst < 0.005/float64(n) {
			return
		}
		for t := range n {
			diff := (pqp - qp[t]) / q[t*n+t]
			p[t] += diff
			pqp = (pqp + diff*(diff*q[t*n+t]+2*qp[t])) / (1 + diff) / (1 + diff)
			for j := range n {
				qp[j] = (qp[j] + diff*q[t*n+j]) / (1 + diff)
				p[j] /= 1 + diff
			}
		}
	}
}
