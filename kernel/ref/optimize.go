package ref

import "math"

// AdamStep has the factors of one step, equal for all elements.
type AdamStep struct {
	Beta1, OneMinusBeta1, Beta2, OneMinusBeta2 float32
	Eps, StepSize, InvSqrtCorrection2          float32 // lr/(1-β1^t), 1/sqrt(1-β2^t)
	Keep                                       float32 // factor on w: 1 - lr·decay when decoupled, else 1
	Decay                                      float32 // added to the gradient as Decay·w
}

// Adam updates w, m and v in place.
func (s *AdamStep) Adam(w, g, m, v []float32) {
	for i := range w {
		d := g[i] + float32(s.Decay*w[i])
		mi := float32(s.Beta1*m[i]) + float32(s.OneMinusBeta1*d)
		vi := float32(s.Beta2*v[i]) + float32(float32(s.OneMinusBeta2*d)*d)
		m[i], v[i] = mi, vi
		den := float32(float32(math.Sqrt(float64(vi)))*s.InvSqrtCorrection2) + s.Eps
		w[i] = float32(w[i]*s.Keep) - float32(s.StepSize*mi)/den
	}
}

// SGDStep has the factors of one step of gradient descent.
type SGDStep struct {
	LR, Momentum, GradScale, Decay float32 // GradScale multiplies the gradient as it enters m
	Nesterov                       bool
}

// SGD updates w and m in place; m is nil without momentum.
func (s *SGDStep) SGD(w, g, m []float32) {
	for i := range w {
		d := g[i] + float32(s.Decay*w[i])
		if m != nil {
			mi := float32(s.Momentum*m[i]) + float32(s.GradScale*d)
			m[i] = mi
			if s.Nesterov {
				d += float32(s.Momentum * mi)
			} else {
				d = mi
			}
		}
		w[i] -= float32(s.LR * d)
	}
}
