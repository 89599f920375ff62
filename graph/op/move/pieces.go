package move

import (
	"tandem/graph"
	"tandem/tensor"
)

// partOf is the box of a piece that lies at an offset of the whole along an axis;
// its other layout is the whole.
func partOf(whole, piece []int, axis, at int) (s *Strides, inWhole []int, offset int) {
	s = Box(piece)
	inWhole = Dense(whole)
	return s, inWhole, at * inWhole[axis]
}

// Pieces prepares the copies between a whole tensor and its pieces along an axis.
// The whole is the source unless into. Where a piece is nil, the one in sizes
// tells its length, and it is passed over.
func Pieces(whole *tensor.Tensor, list, sizes []*tensor.Tensor, axis int, into bool) (func(), error) {
	axis, err := graph.Axis(axis, whole.Rank())
	if err != nil {
		return nil, err
	}
	m, err := Of(whole.DType())
	if err != nil {
		return nil, err
	}
	plans, at := make([]*Strides, len(list)), 0
	for i, piece := range list {
		if piece == nil {
			at += sizes[i].Dim(axis)
			continue
		}
		s, inWhole, offset := partOf(whole.Shape(), piece.Shape(), axis, at)
		if into {
			s.To, s.ToAt = inWhole, offset
		} else {
			s.From, s.FromAt = inWhole, offset
		}
		plans[i] = s.Compact()
		at += piece.Dim(axis)
	}
	return func() {
		for i, piece := range list {
			switch {
			case piece == nil:
			case into:
				m.Strided(whole, piece, plans[i])
			default:
				m.Strided(piece, whole, plans[i])
			}
		}
	}, nil
}
