package metric

import "math"

// Values adds up how far predictions of numbers are off. Several numbers an example
// are measured each alone; the metrics are their means.
type Values struct {
	columns []column
}

// column is one number of an example: sums over examples, and the running mean and
// spread of the targets (Welford, 1962).
type column struct {
	n, squares, absolute, relative, mean, spread float64
}

// NewValues starts empty, for width numbers an example.
func NewValues(width int) *Values { return &Values{columns: make([]column, width)} }

// Add counts rows of predictions and targets, [n, width].
func (v *Values) Add(predictions, targets []float32) {
	const tiny = 0x1p-52 // as scikit-learn keeps from dividing by 0
	for i, y := range targets {
		c := &v.columns[i%len(v.columns)]
		y := float64(y)
		d := float64(predictions[i]) - y
		c.n++
		c.squares += d * d
		c.absolute += math.Abs(d)
		c.relative += math.Abs(d) / max(math.Abs(y), tiny)
		before := y - c.mean
		c.mean += before / c.n
		c.spread += before * (y - c.mean)
	}
}

// Values are all metrics by name. Without spread in the targets R² is 1 where every
// prediction is exact and 0 otherwise; for fewer than two examples it is not defined.
func (v *Values) Values() map[string]float64 {
	var rmse, mae, mape, r2 float64
	for _, c := range v.columns {
		n := max(c.n, 1)
		rmse += math.Sqrt(c.squares / n)
		mae += c.absolute / n
		mape += c.relative / n
		switch {
		case c.spread > 0:
			r2 += 1 - c.squares/c.spread
		case c.squares == 0:
			r2++
		}
	}
	k := float64(len(v.columns))
	all := map[string]float64{"rmse": rmse / k, "mae": mae / k, "mape": mape / k}
	if v.columns[0].n >= 2 {
		all["r2"] = r2 / k
	}
	return all
}
