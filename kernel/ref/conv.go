package ref

// Conv is the shape of a 2-D convolution on NCHW tensors, with weights
// [OC, C/Groups, KH, KW].
type Conv struct {
	N, C, H, W, OC, KH, KW, OH, OW                                  int
	StrideH, StrideW, PadTop, PadLeft, DilationH, DilationW, Groups int
}

// each calls f with the flat index of x, of weight and of y for every product
// that the convolution sums.
func (s *Conv) each(f func(x, w, y int)) {
	cg, og := s.C/s.Groups, s.OC/s.Groups
	for n := range s.N {
		for oc := range s.OC {
			for oy := range s.OH {
				for ox := range s.OW {
					y := ((n*s.OC+oc)*s.OH+oy)*s.OW + ox
					for c := range cg {
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
								x := ((n*s.C+oc/og*cg+c)*s.H+iy)*s.W + ix
								f(x, ((oc*cg+c)*s.KH+ky)*s.KW+kx, y)
							}
						}
					}
				}
			}
		}
	}
}

// Forward computes y = x * weight + bias (bias may be nil) in float64.
func (s *Conv) Forward(x, weight, bias, y []float32, reluToo bool) {
	sum := make([]float64, s.N*s.OC*s.OH*s.OW)
	for i := range sum {
		if bias != nil {
			sum[i] = float64(bias[i/(s.OH*s.OW)%s.OC])
		}
	}
	s.each(func(xi, wi, yi int) { sum[yi] += float64(x[xi]) * float64(weight[wi]) })
	store(y, sum)
	if reluToo {
		relu(y[:len(sum)])
	}
}

// GradInput computes dx from dy and the weights, in float64.
func (s *Conv) GradInput(dy, weight, dx []float32) {
	sum := make([]float64, s.N*s.C*s.H*s.W)
	s.each(func(xi, wi, yi int) { sum[xi] += float64(dy[yi]) * float64(weight[wi]) })
	store(dx, sum)
}

// GradWeight computes dw from x and dy, in float64.
func (s *Conv) GradWeight(x, dy, dw []float32) {
	sum := make([]float64, s.OC*(s.C/s.Groups)*s.KH*s.KW)
	s.each(func(xi, wi, yi int) { sum[wi] += float64(x[xi]) * float64(dy[yi]) })
	store(dw, sum)
}

func store(dst []float32, sum []float64) {
	for i, v := range sum {
		dst[i] = float32(v)
	}
}
