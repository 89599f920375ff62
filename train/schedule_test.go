package train

import (
	"math"
	"testing"
)

func TestSchedules(t *testing.T) {
	spec := func(name string, warm int) TrainSpec {
		return TrainSpec{Optimizer: OptimizerSpec{LearningRate: 0.1}, Schedule: ScheduleSpec{Name: name, WarmupSteps: warm, Patience: 2, Factor: 0.5, At: []float64{0.5, 0.8}}}
	}
	for _, tc := range []struct {
		name  string
		warm  int
		want  []float64 // of ten steps
		tests []float64
	}{
		{"constant", 2, []float64{0.05, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1}, nil},
		{"linear", 0, []float64{0.1, 0.09, 0.08, 0.07, 0.06, 0.05, 0.04, 0.03, 0.02, 0.01}, nil},
		{"cosine", 6, []float64{0.1 / 6, 0.2 / 6, 0.3 / 6, 0.4 / 6, 0.5 / 6, 0.1, 0.1, 0.08535534, 0.05, 0.01464466}, nil},
		// torch.optim.lr_scheduler.OneCycleLR(max_lr=0.1, total_steps=10) of PyTorch 2.15.
		{"one_cycle", 0, []float64{0.004, 0.052, 0.1, 0.09504846, 0.08117457, 0.0611262, 0.0388742, 0.01882583, 0.00495194, 4e-07}, nil},
		// MultiStepLR(milestones=[5, 8], gamma=0.5), after two steps of warm-up.
		{"step", 2, []float64{0.05, 0.1, 0.1, 0.1, 0.1, 0.05, 0.05, 0.05, 0.025, 0.025}, nil},
		{"plateau", 0, []float64{0.025}, []float64{3, 2, 2.5, 2, 2.1, 1, 4, 5}},
		{"plateau", 0, []float64{0.05}, []float64{3, 2, 2.5, 2, 1.9, 2}},
	} {
		for i, want := range tc.want {
			if got := float64(spec(tc.name, tc.warm).rate(i, 10, tc.tests)); math.Abs(got-want) > 1e-8 {
				t.Errorf("%s step %d: %v, want %v", tc.name, i, got, want)
			}
		}
	}
	stop := TrainSpec{StopPatience: 2}
	if stop.stopsEarly([]float64{2, 1, 3, 0.5, 1}) || !stop.stopsEarly([]float64{2, 1, 3, 1}) || (TrainSpec{}).stopsEarly([]float64{1, 2, 3}) {
		t.Error("early stopping")
	}
	if !isBest([]float64{1}) || !isBest([]float64{2, 1}) || isBest([]float64{1, 1}) {
		t.Error("best")
	}
}
