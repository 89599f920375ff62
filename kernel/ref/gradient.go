package ref

// NormStats are what the gradient of a row's normalisation needs: its mean and
// inverse deviation, and the means of g and of g·x̂, with the normalised row x̂ and
// g = dy·scale.
type NormStats struct{ Mean, Inverse, MeanG, MeanGX float32 }

// Dot is Σ a·b, in order.
func Dot(a, b []float32) float32 {
	s := float32(0)
	for i, v := range a {
		s += float32(v * b[i])
	}
	return s
}

// SoftmaxGrad computes dx = y·(dy - dot)·scale.
func SoftmaxGrad(dx, y, dy []float32, dot, scale float32) {
	for i, v := range y {
		dx[i] = v * (dy[i] - dot) * scale
	}
}

func (s *NormStats) normal(x float32) float32 { return (x - s.Mean) * s.Inverse }

// Sums returns Σg and Σg·x̂.
func (s *NormStats) Sums(x, dy, scale []float32) (g, gx float32) {
	for i, v := range x {
		d := dy[i] * scale[i]
		g += d
		gx += float32(d * s.normal(v))
	}
	return g, gx
}

// Grad computes dx = (g - mean(g) - x̂·mean(g·x̂))·inverse.
func (s *NormStats) Grad(dx, x, dy, scale []float32) {
	for i, v := range x {
		dx[i] = (float32(dy[i]*scale[i]) - s.MeanG - float32(s.normal(v)*s.MeanGX)) * s.Inverse
	}
}

// Add adds dy·x̂ to dscale and dy to dbias.
func (s *NormStats) Add(dscale, dbias, x, dy []float32) {
	for i, v := range x {
		dscale[i] += float32(dy[i] * s.normal(v))
		dbias[i] += dy[i]
	}
}
