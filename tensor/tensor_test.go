package tensor

import (
	"fmt"
	"testing"
	"unsafe"
)

func TestDTypeNamesRoundTrip(t *testing.T) {
	for d := Float32; d.Valid(); d++ {
		got, err := ParseDType(d.String())
		if err != nil || got != d {
			t.Errorf("ParseDType(%q) = %v, %v", d.String(), got, err)
		}
	}
	if _, err := ParseDType("undefined"); err == nil {
		t.Error("undefined parsed")
	}
}

func TestByteLenPacksSmallElements(t *testing.T) {
	for _, tc := range []struct {
		d       DType
		n, want int
	}{{Int4, 3, 2}, {Uint2, 5, 2}, {Float32, 3, 12}, {Bool, 3, 3}, {BFloat16, 3, 6}, {Int4, 0, 0}} {
		if got := tc.d.ByteLen(tc.n); got != tc.want {
			t.Errorf("%v.ByteLen(%d) = %d, want %d", tc.d, tc.n, got, tc.want)
		}
	}
}

func TestFromBytesChecksForeignBytes(t *testing.T) {
	raw := make([]byte, 33)
	if _, err := FromBytes(Float32, raw[:32], 2, 5); err == nil {
		t.Error("wrong length accepted")
	}
	if _, err := FromBytes(Float32, raw[:32], -2, -4); err == nil {
		t.Error("negative dimensions accepted")
	}
	if _, err := FromBytes(Float32, nil, 1<<40, 1<<40); err == nil {
		t.Error("overflowing shape accepted")
	}
	if _, err := FromBytes(String, nil); err == nil {
		t.Error("strings from bytes accepted")
	}
	off := 1
	if uintptr(unsafe.Pointer(&raw[1]))%4 == 0 {
		off = 0
	}
	raw[off+3] = 0x40 // the float 2.0, at an odd address
	u, err := FromBytes(Float32, raw[off:off+4], 1)
	if err != nil || u.F32()[0] != 2 {
		t.Errorf("unaligned bytes: %v, %v", u, err)
	}
}

func TestNewIsAligned(t *testing.T) {
	for range 50 {
		x := New(Float32, 3, 7)
		if uintptr(unsafe.Pointer(&x.F32()[0]))%64 != 0 {
			t.Fatal("not on a 64-byte boundary")
		}
	}
}

func TestRowsShare(t *testing.T) {
	x := Of([]float32{1, 2, 3, 4, 5, 6}, 3, 2)
	r := x.Rows(1, 2)
	r.F32()[1] = 9
	if x.F32()[3] != 9 || !r.Shape().Equal(Shape{1, 2}) {
		t.Errorf("Rows: %v %v", r, x.F32())
	}
}

func TestDataPanicsOnWrongType(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Error("no panic")
		}
	}()
	New(Int32, 2).F32()
}

func TestInts(t *testing.T) {
	for _, x := range []*Tensor{Of([]int64{3, -1}, 2), Of([]int32{3, -1}, 2)} {
		if got := fmt.Sprint(x.Ints(), x.AppendInts([]int{7})); got != "[3 -1] [7 3 -1]" {
			t.Errorf("%v: %s", x, got)
		}
	}
	if got := Of([]int64{}, 0).Ints(); got == nil {
		t.Error("no elements are not another type")
	}
	if got := Of([]float32{1}, 1).Ints(); got != nil {
		t.Errorf("a float gives %v", got)
	}
}
