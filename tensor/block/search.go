package block

import "math"

// The scales of the blocks of 256 are found as ggml finds them: round the numbers
// with several trial steps, fit the scale to the codes by weighted least squares,
// keep the best. Sums are in float32 and in order, so that ties fall as they do
// there. Products are converted before they are added, lest a processor with fused
// multiply-add round otherwise.

// tiny is the magnitude below which a part counts as zero.
const tiny = 1e-15

// nearest rounds to the nearest integer, to even, by the mantissa of a number with
// a step of one.
func nearest(v float32) int {
	return int(math.Float32bits(v+12582912)&0x007fffff) - 0x00400000
}

// fit is a search for x ≈ step·code - offset with codes from 0 to top: the trials
// spread the range of x over top + begin + i·delta codes, i from 0 to trials.
type fit struct {
	top          int
	begin, delta float32
	trials       int
}

func (f fit) code(v float32) int { return max(0, min(f.top, nearest(v))) }

// search returns step and offset, neither negative, and writes the codes. The
// weight of a number is its magnitude plus the root mean square of all.
func (f fit) search(codes []byte, x []float32) (step, offset float32) {
	var (
		weights    [part]float32
		trial      [part]byte
		squares    float32
		sumW, sumX float32
	)
	for _, v := range x {
		squares += float32(v * v)
	}
	rms := float32(math.Sqrt(float64(squares / part)))
	lo, hi := x[0], x[0]
	for i, v := range x {
		w := rms + abs(v)
		weights[i] = w
		lo, hi = min(lo, v), max(hi, v)
		sumW += w
		sumX += float32(w * v)
	}
	lo = min(lo, 0)
	if hi == lo {
		clear(codes)
		return 0, -lo
	}
	inv := float32(f.top) / (hi - lo)
	step = 1 / inv
	for i, v := range x {
		codes[i] = byte(f.code(inv * (v - lo)))
	}
	least := loss(codes, x, &weights, step, lo)
	for t := 0; t <= f.trials; t++ {
		inv = (f.begin + float32(f.delta*float32(t)) + float32(f.top)) / (hi - lo)
		var sumL, sumL2, sumXL float32
		for i, v := range x {
			c := f.code(inv * (v - lo))
			trial[i] = byte(c)
			wl := weights[i] * float32(c)
			sumL += wl
			sumL2 += float32(wl * float32(c))
			sumXL += float32(wl * v)
		}
		det := float32(sumW*sumL2) - float32(sumL*sumL)
		if !(det > 0) {
			continue
		}
		s := (float32(sumW*sumXL) - float32(sumX*sumL)) / det
		m := (float32(sumL2*sumX) - float32(sumL*sumXL)) / det
		if m > 0 {
			s, m = sumXL/sumL2, 0
		}
		// The trials that follow count from the best offset so far.
		if now := loss(trial[:], x, &weights, s, m); now < least {
			copy(codes, trial[:])
			least, step, lo = now, s, m
		}
	}
	return step, -lo
}

// loss is the weighted sum of squares of step·code + least - x.
func loss(codes []byte, x []float32, weights *[part]float32, step, least float32) float32 {
	var sum float32
	for i, v := range x {
		diff := float32(step*float32(codes[i])) + least - v
		sum += float32(weights[i] * float32(diff*diff))
	}
	return sum
}

// symmetric finds a step, of either sign, for x ≈ step·(code - 32) with codes of six
// bits. The weight of a number is its square.
func symmetric(codes []byte, x []float32) float32 {
	const half = 32
	most := extreme(x)
	if abs(most) < tiny {
		clear(codes)
		return 0
	}
	level := func(inv, v float32) int { return max(-half, min(half-1, nearest(inv*v))) }
	sums := func(inv float32) (lx, l2 float32) {
		for _, v := range x {
			l := float32(level(inv, v))
			w := v * v
			lx += float32(float32(w*v) * l)
			l2 += float32(float32(w*l) * l)
		}
		return lx, l2
	}
	keep := func(inv float32) {
		for i, v := range x {
			codes[i] = byte(level(inv, v) + half)
		}
	}
	inv := -half / most
	keep(inv)
	lx, l2 := sums(inv)
	var step float32
	if l2 != 0 {
		step = lx / l2
	}
	best := step * lx
	for t := -9; t <= 9; t++ {
		if t == 0 {
			continue
		}
		inv := -(half + float32(0.1*float32(t))) / most
		if lx, l2 = sums(inv); l2 > 0 && float32(lx*lx) > float32(best*l2) {
			keep(inv)
			step = lx / l2
			best = step * lx
		}
	}
	return step
}
