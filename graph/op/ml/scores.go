package ml

import (
	"fmt"
	"math"

	"tandem/graph"
)

// transform turns a row of scores into probabilities, in place.
type transform func(scores []float64)

func transformOf(a graph.Attrs) (transform, error) {
	name, _ := a["post_transform"].(string)
	if i, ok := a["post_transform"].(int64); ok { // TreeEnsemble numbers them
		if i < 0 || i > 4 {
			return nil, fmt.Errorf("post_transform is %d, outside [0, 4]", i)
		}
		name = [...]string{"NONE", "SOFTMAX", "LOGISTIC", "SOFTMAX_ZERO", "PROBIT"}[i]
	}
	switch name {
	case "NONE", "":
		return nil, nil
	case "LOGISTIC":
		return eachScore(logistic), nil
	case "PROBIT":
		return eachScore(probit), nil
	case "SOFTMAX":
		return softmaxScores, nil
	case "SOFTMAX_ZERO":
		return softmaxZeroScores, nil
	}
	return nil, fmt.Errorf("post_transform %q is not known", name)
}

func (t transform) apply(scores []float64) {
	if t != nil {
		t(scores)
	}
}

func eachScore(f func(float64) float64) transform {
	return func(scores []float64) {
		for i, v := range scores {
			scores[i] = f(v)
		}
	}
}

func logistic(v float64) float64 { return 1 / (1 + math.Exp(-v)) }

// probit is the inverse of the normal distribution's sum, by the approximation of
// the inverse error function that ONNX Runtime and the reference use (Winitzki).
func probit(v float64) float64 {
	x := 2*v - 1
	log := math.Log((1 - x) * (1 + x))
	a := 2/(math.Pi*0.147) + 0.5*log
	r := math.Sqrt(math.Sqrt(a*a-log/0.147) - a)
	return math.Sqrt2 * math.Copysign(r, x)
}

func softmaxScores(scores []float64) {
	top, sum := math.Inf(-1), 0.0
	for _, v := range scores {
		top = max(top, v)
	}
	for i, v := range scores {
		scores[i] = math.Exp(v - top)
		sum += scores[i]
	}
	for i := range scores {
		scores[i] /= sum
	}
}

// softmaxZeroScores is softmax in which scores of 0 stay 0.
func softmaxZeroScores(scores []float64) {
	const zero = 1e-7
	top, sum := math.Inf(-1), 0.0
	for _, v := range scores {
		top = max(top, v)
	}
	for i, v := range scores {
		if math.Abs(v) > zero {
			scores[i] = math.Exp(v - top)
		} else {
			scores[i] *= math.Exp(-top)
		}
		sum += scores[i]
	}
	for i := range scores {
		if sum == 0 {
			scores[i] = 0.5
		} else {
			scores[i] /= sum
		}
	}
}

// argmax is the first position of the largest score.
func argmax(scores []float64) int {
	best := 0
	for i, v := range scores {
		if v > scores[best] {
			best = i
		}
	}
	return best
}
