package ref

import "math"

// Deviations returns Σ(x-mean)², in order.
func Deviations(x []float32, mean float32) float32 {
	s := float32(0)
	for _, v := range x {
		d := v - mean
		s += float32(d * d)
	}
	return s
}

// Standardize computes y = (x-mean)·inverse·scale + bias.
func Standardize(y, x, scale, bias []float32, mean, inverse float32) {
	for i := range y {
		y[i] = float32(float32((x[i]-mean)*inverse)*scale[i]) + bias[i]
	}
}

// Scores computes s = s·scale + bias in place and returns the greatest that is a
// number; -Inf when none is.
func Scores(s, bias []float32, scale float32) float32 {
	for i, v := range s {
		s[i] = float32(v*scale) + bias[i]
	}
	return Max(s)
}

// Weights computes s = exp(s - top) in place, 0 where that is below the normal range,
// and returns the sum, in order.
func Weights(s []float32, top float32) float32 {
	for i, v := range s {
		if s[i] = 0; !(v-top < -87) {
			s[i] = float32(math.Exp(float64(v - top)))
		}
	}
	return Sum(s)
}

// Weigh does a block's part of a softmax over blocks: with top the greater of itself and
// the greatest score that is a number, it replaces scores by exp(score - top), 0 below the
// normal range, and adds them to total. Before that total and out, which went with the old
// top, become those of the new one. top begins as a finite number below all scores.
func Weigh(scores []float32, top, total *float32, out []float32) {
	greatest := max(*top, Max(scores))
	less := []float32{*top}
	Weights(less, greatest)
	if greatest != *top {
		Scale(out, out, less[0])
	}
	*total = float32(*total*less[0]) + Weights(scores, greatest)
	*top = greatest
}

// AttentionRow computes y = softmax(scale·K·q + bias)·V in float64, for keys and
// values with the given row strides.
func AttentionRow(y, q, k, v, bias []float32, keys, ks, vs int, scale float32) {
	p, top := make([]float64, keys), math.Inf(-1)
	for j := range p {
		for i, a := range q {
			p[j] += float64(a) * float64(k[j*ks+i])
		}
		p[j] *= float64(scale)
		if bias != nil {
			p[j] += float64(bias[j])
		}
		top = max(top, p[j])
	}
	total, sums := 0.0, make([]float64, len(y))
	for j, s := range p {
		e := math.Exp(s - top)
		total += e
		for i := range sums {
			sums[i] += e * float64(v[j*vs+i])
		}
	}
	for i, s := range sums {
		y[i] = float32(s / total)
	}
}
