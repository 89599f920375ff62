//go:build amd64 && !purego

package kernel

import (
	"tandem/kernel/ref"
	"unsafe"
)

func binaryAsm(_ ISA, op BinaryOp, y, a, b *float32, n int, s float32) {
	binaryGeneric(op, unsafe.Slice(y, n), unsafe.Slice(a, n), unsafe.Slice(b, n), s)
}
func unaryAsm(_ ISA, op UnaryOp, y, x *float32, n int, s float32) {
	unaryGeneric(op, unsafe.Slice(y, n), unsafe.Slice(x, n), s)
}
func sumAsm(_ ISA, x *float32, n int) float32 { return ref.Sum(unsafe.Slice(x, n)) }
func maxAsm(_ ISA, x *float32, n int) float32 { return ref.Max(unsafe.Slice(x, n)) }
func sumRowsAsm(_ ISA, dst, x *float32, n, rows, ld int) {
	ref.SumRows(unsafe.Slice(dst, n), unsafe.Slice(x, (rows-1)*ld+n), rows, ld)
}
