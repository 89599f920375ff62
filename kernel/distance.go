package kernel

// What compares one point with many, whose coordinates of one kind lie together. These
// run on the calling goroutine, which may be a worker of p.

// AddSquares computes y += (x - s)².
func AddSquares(p *Pool, y, x []float32, s float32) {
	binary(p.isa, opAddSquare, y, y, x[:len(y)], s)
}

// AddProducts computes y += s·x.
func AddProducts(p *Pool, y, x []float32, s float32) {
	binary(p.isa, opAddScaled, y, y, x[:len(y)], s)
}

// ExpScaled computes y = exp(s·y), within 2 ulp of the rounded product's.
func ExpScaled(p *Pool, y []float32, s float32) {
	unary(p.isa, opScale, y, y, s)
	unary(p.isa, opExpShift, y, y, 0)
}
