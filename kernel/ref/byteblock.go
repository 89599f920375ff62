package ref

// ByteBlock is the contract of the kernel of blocks of bytes: the sums of products
//
//	Sums[q,i,j] = Σ_k A[i,k]·B[q,k,j]
//
// modulo 2³², of unsigned bytes of A and signed ones of B, for panels q of 32 columns. A row
// of A has Lines lines of 64·Steps bytes, which begin Line bytes apart; 0 lines are one.
type ByteBlock struct {
	Rows, Steps, Panels int // 1 to 32 rows
	Lines, Line         int
	A                   []byte // row i at i*RS
	RS                  int
	B                   []byte // words of four bytes: that of rows 4k to 4k+3 and column j of panel q at q*Panel + 128*k + 4*j
	Panel               int
	Sums                []int32 // (q,i,j) at 32*(32*q + i) + j
}

// Run computes the sums.
func (t *ByteBlock) Run() {
	for q := range t.Panels {
		for i := range t.Rows {
			sums, b := t.Sums[32*(32*q+i):][:32], t.B[q*t.Panel:]
			clear(sums)
			for line := range max(1, t.Lines) {
				a := t.A[i*t.RS+line*t.Line:][:64*t.Steps]
				for k, v := range a {
					word := b[(line*len(a)+k)/4*128+k%4:]
					for j := range sums {
						sums[j] += int32(v) * int32(int8(word[4*j]))
					}
				}
			}
		}
	}
}
