package ref

// Pool is the shape of a 2-D pooling window over planes of H×W.
type Pool struct {
	H, W, OH, OW, KH, KW                                    int
	StrideH, StrideW, PadTop, PadLeft, DilationH, DilationW int
}

// argmax is the index in the plane of the first greatest element of the window
// of output (oy,ox), NaN being the greatest; -1 when the window is empty.
func (s *Pool) argmax(x []float32, oy, ox int) int {
	best := -1
	for ky := range s.KH {
		iy := oy*s.StrideH + ky*s.DilationH - s.PadTop
		if iy < 0 || iy >= s.H {
			continue
		}
		for kx := range s.KW {
			ix := ox*s.StrideW + kx*s.DilationW - s.PadLeft
			if ix < 0 || ix >= s.W {
				continue
			}
			i := iy*s.W + ix
			if best < 0 || x[i] > x[best] || (x[i] != x[i] && x[best] == x[best]) {
				best = i
			}
		}
	}
	return best
}

// Max pools one plane: y [OH,OW] from x [H,W]. An empty window gives lowest.
func (s *Pool) Max(y, x []float32, lowest float32) {
	for oy := range s.OH {
		for ox := range s.OW {
			v := lowest
			if i := s.argmax(x, oy, ox); i >= 0 {
				v = x[i]
			}
			y[oy*s.OW+ox] = v
		}
	}
}

// MaxGrad adds dy to the element of dx that Max took; dx is cleared first.
func (s *Pool) MaxGrad(dx, x, dy []float32) {
	clear(dx[:s.H*s.W])
	for oy := range s.OH {
		for ox := range s.OW {
			if i := s.argmax(x, oy, ox); i >= 0 {
				dx[i] += dy[oy*s.OW+ox]
			}
		}
	}
}
