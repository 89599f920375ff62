package train

import "math"

// rate is the learning rate of a step, counted from 0, of total steps: linear
// warm-up, then constant, or half a cosine down to 0 (Loshchilov and Hutter,
// "SGDR", 2017, without restarts).
func (t TrainSpec) rate(step, total int) float32 {
	peak, warm := float64(t.Optimizer.LearningRate), t.Schedule.WarmupSteps
	if step < warm {
		return float32(peak * float64(step+1) / float64(warm))
	}
	if t.Schedule.Name == "cosine" && total > warm {
		done := float64(step-warm) / float64(total-warm)
		return float32(peak * (1 + math.Cos(math.Pi*done)) / 2)
	}
	return float32(peak)
}
