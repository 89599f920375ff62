package metric

import "math"

// Limits of what Classes keeps.
const (
	MaxConfusionClasses = 1000    // of which all pairs are counted
	maxScores           = 1 << 26 // scores kept for areas under curves: 256 MiB
)

// Classes adds up what a classifier says about a set.
type Classes struct {
	// TopK is how many classes the label may be among for top_k_accuracy.
	TopK int
	// Confusion counts examples by label and prediction: nil above
	// MaxConfusionClasses.
	Confusion [][]int64

	classes, rows int
	right, top    int64
	logs          float64
	truth, said   []int64 // examples by label, by prediction
	hit           []int64 // by label, where both agree
	scores        []float32
	labels        []int64
	tooMany       bool // scores were not kept
}

// NewClasses starts empty.
func NewClasses(classes, topK int) *Classes {
	c := &Classes{TopK: topK, classes: classes, truth: make([]int64, classes), said: make([]int64, classes), hit: make([]int64, classes)}
	if classes <= MaxConfusionClasses {
		c.Confusion = make([][]int64, classes)
		for i := range c.Confusion {
			c.Confusion[i] = make([]int64, classes)
		}
	}
	return c
}

// Add counts rows of probabilities [len(labels), classes].
func (c *Classes) Add(probabilities []float32, labels []int64) {
	const tiny = 0x1p-23 // as scikit-learn clips what is float32
	for i, label := range labels {
		p := probabilities[i*c.classes : (i+1)*c.classes]
		best, above := 0, 0
		own := p[label]
		for k, v := range p {
			if v > p[best] {
				best = k
			}
			if v > own || v == own && k > int(label) {
				above++
			}
		}
		c.rows++
		c.truth[label]++
		c.said[best]++
		if best == int(label) {
			c.right++
			c.hit[label]++
		}
		if above < c.TopK {
			c.top++
		}
		if c.Confusion != nil {
			c.Confusion[label][best]++
		}
		c.logs -= math.Log(min(max(float64(own), tiny), 1-tiny))
	}
	if c.tooMany = c.tooMany || len(c.scores)+len(probabilities) > maxScores; c.tooMany {
		c.scores, c.labels = nil, nil
		return
	}
	c.scores = append(c.scores, probabilities[:len(labels)*c.classes]...)
	c.labels = append(c.labels, labels...)
}

// Class is how one class fared against all others.
type Class struct {
	Precision float64 `json:"precision"`
	Recall    float64 `json:"recall"`
	F1        float64 `json:"f1"`
	Examples  int64   `json:"examples"`
	// AUC is the area under the curve of this class against the rest, if defined.
	AUC *float64 `json:"auc,omitempty"`
}

// PerClass is how each class fared. What would divide by 0 is 0.
func (c *Classes) PerClass() []Class {
	all := make([]Class, c.classes)
	for k := range all {
		all[k] = Class{
			Precision: ratio(c.hit[k], c.said[k]), Recall: ratio(c.hit[k], c.truth[k]),
			F1: ratio(2*c.hit[k], c.said[k]+c.truth[k]), Examples: c.truth[k],
		}
		if area, ok := c.area(k); ok {
			all[k].AUC = &area
		}
	}
	return all
}

func ratio(a, b int64) float64 {
	if b == 0 {
		return 0
	}
	return float64(a) / float64(b)
}

// Values are all metrics by name. Means are over the classes that occur, as labels or
// as predictions; the area under the curve is defined where all occur as labels.
func (c *Classes) Values() map[string]float64 {
	rows := float64(max(c.rows, 1))
	accuracy := float64(c.right) / rows
	v := map[string]float64{
		"accuracy": accuracy, "top_k_accuracy": float64(c.top) / rows, "log_loss": c.logs / rows,
		// With one label an example, each error is a false positive of one class and a
		// false negative of another: all three are the accuracy.
		"precision_micro": accuracy, "recall_micro": accuracy, "f1_micro": accuracy,
	}
	classes := c.PerClass()
	var occur, precision, recall, f1 float64
	area, areas := 0.0, 0
	for k, one := range classes {
		if c.truth[k]+c.said[k] > 0 {
			occur++
			precision, recall, f1 = precision+one.Precision, recall+one.Recall, f1+one.F1
		}
		if one.AUC != nil {
			area += *one.AUC
			areas++
		}
	}
	occur = max(occur, 1)
	v["precision_macro"], v["recall_macro"], v["f1_macro"] = precision/occur, recall/occur, f1/occur
	if c.classes == 2 {
		v["precision"], v["recall"], v["f1"] = classes[1].Precision, classes[1].Recall, classes[1].F1
		if areas == 2 {
			v["auc"] = *classes[1].AUC
		}
	} else if areas == c.classes {
		v["auc"] = area / float64(areas)
	}
	return v
}
