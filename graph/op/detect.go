package op

import (
	"cmp"
	"fmt"
	"math"
	"slices"

	"tandem/graph"
	"tandem/graph/op/narrow"
	"tandem/tensor"
)

// detectOps find objects in images: boxes, and what lies in them.
func detectOps() []graph.Op {
	return []graph.Op{
		{ID: onnx("NonMaxSuppression"), Since: 10, Late: true, Kernel: kernelNonMaxSuppression, Flat: true},
		{ID: onnx("RoiAlign"), Since: 10, Infer: inferRoiAlign, Kernel: narrow.Widened(kernelRoiAlign(false)), Grad: gradRoiAlign(false)},
		{ID: onnx("RoiAlign"), Since: 16, Infer: inferRoiAlign, Kernel: narrow.Widened(kernelRoiAlign(true)), Grad: gradRoiAlign(true)},
		{ID: onnx("MaxRoiPool"), Since: 1, Infer: inferMaxRoiPool, Kernel: narrow.Widened(kernelMaxRoiPool), Grad: gradMaxRoiPool},
		// (dy, x, boxes, images) -> dx, and (dy, x, boxes) -> dx
		{ID: private("RoiAlignGrad"), Infer: sameAs(1, 4, 4), Kernel: kernelRoiAlignGrad},
		{ID: private("MaxRoiPoolGrad"), Infer: sameAs(1, 3, 3), Kernel: kernelMaxRoiPoolGrad},
	}
}

// corners of a box.
type corners struct{ x0, y0, x1, y1 float32 }

func (b corners) area() float32 { return (b.x1 - b.x0) * (b.y1 - b.y0) }

// overlap is the intersection over the union of two boxes, 0 where there is none.
func (b corners) overlap(c corners) float32 {
	both := corners{max(b.x0, c.x0), max(b.y0, c.y0), min(b.x1, c.x1), min(b.y1, c.y1)}
	if both.x1 <= both.x0 || both.y1 <= both.y0 {
		return 0
	}
	union := b.area() + c.area() - both.area()
	if b.area() <= 0 || c.area() <= 0 || union <= 0 {
		return 0
	}
	return both.area() / union
}

// boxOf reads [y, x, y, x] of two opposite corners, or [x, y, width, height]
// around the center.
func boxOf(v []float32, center bool) corners {
	if center {
		return corners{v[0] - v[2]/2, v[1] - v[3]/2, v[0] + v[2]/2, v[1] + v[3]/2}
	}
	return corners{min(v[1], v[3]), min(v[0], v[2]), max(v[1], v[3]), max(v[0], v[2])}
}

func kernelNonMaxSuppression(c *graph.Call) (func() error, error) {
	if len(c.In) < 2 || c.In[0] == nil || c.In[1] == nil {
		return nil, fmt.Errorf("boxes or scores are missing")
	}
	boxes, scores := c.In[0], c.In[1]
	if boxes.DType() != tensor.Float32 || scores.DType() != tensor.Float32 {
		return nil, fmt.Errorf("boxes are %v and scores %v, expected float32", boxes.DType(), scores.DType())
	}
	if boxes.Rank() != 3 || scores.Rank() != 3 || boxes.Dim(2) != 4 || boxes.Dim(0) != scores.Dim(0) || boxes.Dim(1) != scores.Dim(2) {
		return nil, fmt.Errorf("boxes of shape %v and scores of shape %v do not fit", boxes.Shape(), scores.Shape())
	}
	var limits [3]float64
	for i := range limits {
		if !c.Has(2 + i) {
			continue
		}
		var err error
		if limits[i], err = numberIn(c.In[2+i]); err != nil {
			return nil, err
		}
	}
	s := suppression{look: lookout{pool: c.Pool}, limit: int(min(max(limits[0], 0), math.MaxInt32)), overlap: float32(limits[1]), score: float32(math.Inf(-1))}
	if c.Has(4) {
		s.score = float32(limits[2])
	}
	center := c.Node.Attrs.Int("center_point_box", 0) != 0
	return func() error {
		batches, classes, n := scores.Dim(0), scores.Dim(1), scores.Dim(2)
		var found []int64
		list := make([]corners, n)
		for b := range batches {
			for i := range list {
				list[i] = boxOf(boxes.F32()[(b*n+i)*4:][:4], center)
			}
			for class := range classes {
				for _, i := range s.choose(list, scores.F32()[(b*classes+class)*n:][:n], c.Has(4)) {
					found = append(found, int64(b), int64(class), int64(i))
				}
			}
		}
		y, err := made(c, tensor.Int64, len(found)/3, 3)
		if err != nil {
			return err
		}
		copy(y.I64(), found)
		return nil
	}, nil
}

// suppression takes boxes by falling score and leaves out those that overlap one
// that was taken.
type suppression struct {
	look           lookout
	limit          int
	overlap, score float32
}

func (s *suppression) choose(boxes []corners, scores []float32, bounded bool) []int {
	var order, chosen []int
	for i, v := range scores {
		if !bounded || v > s.score {
			order = append(order, i)
		}
	}
	slices.SortFunc(order, func(i, j int) int {
		s.look.step(1)
		return cmp.Or(cmp.Compare(scores[j], scores[i]), i-j) // equal ones in their order
	})
	taken := newShelves(boxes, s.overlap, &s.look)
	for _, i := range order {
		if len(chosen) >= s.limit {
			break
		}
		if !taken.meets(boxes[i]) {
			taken.add(boxes[i])
			chosen = append(chosen, i)
		}
	}
	return chosen
}

// shelves are boxes by the columns of the picture that they reach into, so that a box is
// compared with those near it only. Detectors that move the boxes of each class to a
// place of their own leave few to compare with.
type shelves struct {
	look      *lookout
	overlap   float32 // that two boxes may have
	first     float32 // where the first column begins
	perColumn float32 // columns for each unit of length
	columns   [][]corners
}

// mostShelves bounds the number of columns.
const mostShelves = 256

// newShelves chooses columns about as wide as the boxes are on average: a box then lies
// in two or three.
func newShelves(boxes []corners, overlap float32, look *lookout) *shelves {
	s := &shelves{overlap: overlap, look: look}
	last, width := float32(math.Inf(-1)), float32(0)
	s.first = float32(math.Inf(1))
	for _, b := range boxes {
		s.first, last = min(s.first, b.x0), max(last, b.x1)
		width += b.x1 - b.x0
	}
	count := 1
	if n := (last - s.first) * float32(len(boxes)) / width; overlap >= 0 && n > 1 { // false for what is no number
		count = int(min(n, mostShelves))
		s.perColumn = float32(count) / (last - s.first)
	}
	s.columns = make([][]corners, count)
	return s
}

// span are the columns that a box reaches into.
func (s *shelves) span(b corners) [][]corners {
	column := func(x float32) int {
		if v := (x - s.first) * s.perColumn; v > 0 {
			return int(min(v, float32(len(s.columns)-1)))
		}
		return 0
	}
	from := column(b.x0)
	return s.columns[from : max(column(b.x1), from)+1]
}

func (s *shelves) add(b corners) {
	list := s.span(b)
	for i := range list {
		list[i] = append(list[i], b)
	}
}

// meets reports whether b overlaps one of the boxes by more than it may.
func (s *shelves) meets(b corners) bool {
	for _, list := range s.span(b) {
		s.look.step(len(list))
		for i := range list {
			o := &list[i]
			if (o.x0 >= b.x1 || o.x1 <= b.x0 || o.y0 >= b.y1 || o.y1 <= b.y0) && s.overlap >= 0 {
				continue
			}
			if b.overlap(*o) > s.overlap {
				return true
			}
		}
	}
	return false
}
