package kernel

import "tandem/kernel/ref"

func adam(isa ISA, s *ref.AdamStep, w, g, m, v []float32) { s.Adam(w, g, m, v) }

func dropout(isa ISA, s *ref.Stream, y, x []float32, first int, threshold uint32, scale float32) {
	s.Dropout(y, x, first, threshold, scale)
}
