package ref

import "fmt"

// Winograd has the matrices of minimal filtering, F(m×m, 3×3): m×m outputs of a window
// of 3×3 from n×n inputs, n = m+2, with n² multiplications instead of 9m². An output
// tile is
//
//	Y = Aᵀ [(G g Gᵀ) ⊙ (Bᵀ d B)] A
//
// for inputs d and weights g. The rows of B and G belong to the points at which
// polynomials are taken, in the order 0, ∞, p, -p, q, -q. Winograd, "Arithmetic Complexity
// of Computations", 1980; Lavin and Gray, arXiv:1509.09308.
type Winograd struct {
	Side, Size int           // m and n
	Input      [6][6]float64 // Bᵀ [n][n]
	Weights    [6][3]float64 // G [n][3]
	Output     [4][6]float64 // Aᵀ [m][n]
}

// WinogradPoints are the positive ones of the points for tiles of m×m outputs, m 2 or 4.
// Those for 4 give the smallest error of all pairs of eighths up to 2: 0.4 of that of 1
// and 2, which textbooks take.
func WinogradPoints(m int) []float64 {
	switch m {
	case 2:
		return []float64{1}
	case 4:
		return []float64{0.625, 1.5}
	}
	panic(fmt.Sprintf("ref: tiles of %d×%d outputs", m, m))
}

// NewWinograd works out the matrices for tiles of m×m outputs.
func NewWinograd(m int) Winograd {
	w := Winograd{Side: m, Size: m + 2}
	points := []float64{0, 0} // the second stands for infinity
	for _, p := range WinogradPoints(m) {
		points = append(points, p, -p)
	}
	for i, p := range points {
		product, norm := []float64{1}, 1.0 // of x-q and of p-q, over the other finite points q
		for j, q := range points {
			if j == 1 || j == i {
				continue
			}
			product = timesRoot(product, q)
			norm *= p - q
		}
		copy(w.Input[i][:], product)
		if i == 1 {
			w.Weights[i][2], w.Output[m-1][i] = 1, 1
			continue
		}
		power := 1.0
		for k := range max(m, 3) {
			if k < 3 {
				w.Weights[i][k] = power / norm
			}
			if k < m {
				w.Output[k][i] = power
			}
			power *= p
		}
	}
	return w
}

// timesRoot is the polynomial times x-root, lowest power first.
func timesRoot(p []float64, root float64) []float64 {
	r := make([]float64, len(p)+1)
	for i, c := range p {
		r[i] -= root * c
		r[i+1] += c
	}
	return r
}

// TransformWeights writes G g Gᵀ for one window g of 3×3: n² numbers, in u.
func (w *Winograd) TransformWeights(u *[36]float32, g []float32) {
	var half [6][3]float64
	_ = g[8]
	for i := range w.Size {
		r := &w.Weights[i]
		for k := range 3 {
			half[i][k] = r[0]*float64(g[k]) + r[1]*float64(g[3+k]) + r[2]*float64(g[6+k])
		}
	}
	for i := range w.Size {
		h := &half[i]
		for j := range w.Size {
			r := &w.Weights[j]
			u[i*w.Size+j] = float32(h[0]*r[0] + h[1]*r[1] + h[2]*r[2])
		}
	}
}

// TransformInput writes Bᵀ d B for each of the channels, element (i,j) of channel c
// to v[(i·n+j)·step + c]. Pixel gives the channels of an input; nil are zeros.
func (w *Winograd) TransformInput(v []float32, step, channels int, pixel func(i, j int) []float32) {
	var d [6][6][]float32
	for i := range w.Size {
		for j := range w.Size {
			d[i][j] = pixel(i, j)
		}
	}
	for c := range channels {
		var half [6][6]float64
		for i := range w.Size {
			for k := range w.Size {
				for j := range w.Size {
					if d[k][j] != nil {
						half[i][j] += w.Input[i][k] * float64(d[k][j][c])
					}
				}
			}
		}
		for i := range w.Size {
			for j := range w.Size {
				sum := 0.0
				for k := range w.Size {
					sum += half[i][k] * w.Input[j][k]
				}
				v[(i*w.Size+j)*step+c] = float32(sum)
			}
		}
	}
}

// TransformOutput adds bias, which may be nil, to AᵀvA for each of the channels, with v
// laid out as TransformInput does. Pixel gives where an output goes, and what is added to
// it or nil; outputs that are nil are left out.
func (w *Winograd) TransformOutput(v []float32, step, channels int, bias []float32, pixel func(i, j int) (y, add []float32), reluToo bool) {
	for c := range channels {
		var half [4][6]float64
		for i := range w.Side {
			for j := range w.Size {
				for k := range w.Size {
					half[i][j] += w.Output[i][k] * float64(v[(k*w.Size+j)*step+c])
				}
			}
		}
		for i := range w.Side {
			for j := range w.Side {
				y, add := pixel(i, j)
				if y == nil {
					continue
				}
				sum := 0.0
				for k := range w.Size {
					sum += half[i][k] * w.Output[j][k]
				}
				if bias != nil {
					sum += float64(bias[c])
				}
				if add != nil {
					sum += float64(add[c])
				}
				y[c] = float32(sum)
				if reluToo {
					relu(y[c : c+1])
				}
			}
		}
	}
}
