package train

import "math"

// rate is the learning rate of a step, counted from 0, of total steps. After a
// linear warm-up it is
//
//	constant   the peak
//	linear     down to 0 in a line
//	cosine     down to 0 by half a cosine (Loshchilov and Hutter, "SGDR", 2017,
//	           without restarts)
//	one_cycle  from peak/25 up to the peak over the first 30 % and down to
//	           peak/250000, both by half a cosine (Smith and Topin,
//	           "Super-Convergence", 2018); warm-up is its own
//	step       the peak times Factor once more after each part of the run in At
//	plateau    the peak times Factor for every Patience epochs in a row without a
//	           better test; tests are what is monitored so far
func (t TrainSpec) rate(step, total int, tests []float64) float32 {
	peak, warm := float64(t.Optimizer.LearningRate), t.Schedule.WarmupSteps
	if t.Schedule.Name == "one_cycle" {
		return float32(oneCycle(peak, float64(step), float64(total)))
	}
	if step < warm {
		return float32(peak * float64(step+1) / float64(warm))
	}
	done := float64(step-warm) / float64(max(total-warm, 1))
	switch t.Schedule.Name {
	case "cosine":
		return float32(peak * (1 + math.Cos(math.Pi*done)) / 2)
	case "step":
		for _, part := range t.Schedule.At {
			if float64(step) >= part*float64(total) {
				peak *= float64(t.Schedule.Factor)
			}
		}
	case "linear":
		return float32(peak * (1 - done))
	case "plateau":
		return float32(peak * math.Pow(float64(t.Schedule.Factor), float64(plateaus(tests, t.Schedule.Patience))))
	}
	return float32(peak)
}

func oneCycle(peak, step, total float64) float64 {
	between := func(from, to, part float64) float64 { return to + (from-to)*(1+math.Cos(math.Pi*part))/2 }
	top := 0.3*total - 1
	if step <= top {
		return between(peak/25, peak, step/top)
	}
	return between(peak, peak/25/1e4, (step-top)/max(total-1-top, 1))
}

// plateaus counts how often a loss stayed above the lowest for patience epochs in a
// row; after each the count begins anew.
func plateaus(losses []float64, patience int) int {
	best, since, count := math.Inf(1), 0, 0
	for _, l := range losses {
		if l < best {
			best, since = l, 0
			continue
		}
		if since++; since == patience {
			since = 0
			count++
		}
	}
	return count
}

// stopsEarly reports whether nothing was better than the best for StopPatience epochs.
func (t TrainSpec) stopsEarly(tests []float64) bool {
	return t.StopPatience > 0 && plateaus(tests, t.StopPatience) > 0
}

// isBest reports whether the last loss is lower than all before.
func isBest(tests []float64) bool {
	last := len(tests) - 1
	for _, l := range tests[:last] {
		if l <= tests[last] {
			return false
		}
	}
	return true
}
