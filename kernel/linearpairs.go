package kernel

import "unsafe"

// wordStride is the step from the words of a row to the next row's.
func (l *Linear) wordStride() int {
	n := (ceilDiv(l.K, 2) + 15) &^ 15
	if n*4%aliasBytes == 0 {
		n += 16
	}
	return n
}

func (l *Linear) wordBytes() int {
	if !l.pairs {
		return 0
	}
	return l.M * l.wordStride() * 4
}

// pairRows are the rows, whole tiles, whose products wait for what is added to them.
const pairRows = 72

// multiplyPairs is multiply for weights in words of two bfloat16. Where several tiles of
// rows share what weights come from memory, each fetches its part of those that are next.
func (l *Linear) multiplyPairs(i int, data []byte, panel, lo, hi int, to *place, room []float32) {
	w, shape, stride := &l.Weights[i], shapeOf(l.isa), l.wordStride()
	n0, height := panel*shape.cols, hi-lo
	n := min(shape.cols, w.N-n0)
	t := tileRun{isa: l.isa, tileShape: shape, storage: asDots, k: ceilDiv(l.K, 2), rs: stride, ks: 1, b: floatsAt(data), bs: shape.cols}
	if height > shape.rows && l.M <= streamRows {
		t.stream, t.next = true, int(to.next-uintptr(unsafe.Pointer(&data[0])))/4
	}
	if w.Bias == nil && to.mul == nil && to.add == nil {
		t.a, t.c, t.cs = l.words[lo*stride:], to.y[(lo-to.first)*to.stride+to.column:], to.stride
		t.run(height, n)
		return
	}
	t.c, t.cs = room, shape.cols
	for i := lo; i < hi; i += pairRows {
		rows := min(pairRows, hi-i)
		t.a = l.words[i*stride:]
		t.run(rows, n)
		l.finish(w, room, shape.cols, i, i-lo, rows, n0, to)
	}
}
