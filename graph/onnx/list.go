package onnx

import (
	"encoding/binary"
	"math"
	"slices"

	"google.golang.org/protobuf/encoding/protowire"
)

// The lists of attributes are not packed in onnx.proto: each element is a field, one
// behind the other, and a forest has hundreds of thousands. What reads a list takes
// the whole run of fields that f begins; rest is what is behind f, and behind the run
// when it is returned. Elements are counted before there is memory for them. One that
// cannot be read ends the run: nextField says what is wrong with it.

// tag is how a field that is like f begins, where its number is below 16.
func (f field) tag() byte { return byte(f.num)<<3 | byte(f.typ) }

func (f field) intRun(to []int64, rest []byte) ([]int64, []byte, error) {
	to, err := f.ints(to)
	if err != nil || f.typ != protowire.VarintType {
		return to, rest, err
	}
	tag, count := f.tag(), 0
	for at := 0; at < len(rest) && rest[at] == tag; count++ {
		for at++; at < len(rest) && rest[at] >= 0x80; at++ {
		}
		at++
	}
	to = slices.Grow(to, count)
	for len(rest) > 1 && rest[0] == tag {
		v, n := uint64(rest[1]), 1
		if v >= 0x80 {
			if v, n = protowire.ConsumeVarint(rest[1:]); n < 0 {
				break
			}
		}
		to, rest = append(to, int64(v)), rest[1+n:]
	}
	return to, rest, nil
}

func (f field) floatRun(to []float32, rest []byte) ([]float32, []byte, error) {
	const size = 1 + 4 // with the tag
	if f.typ == protowire.Fixed32Type {
		tag, count := f.tag(), 0
		for at := 0; at+size <= len(rest) && rest[at] == tag; at += size {
			count++
		}
		to = append(slices.Grow(to, 1+count), math.Float32frombits(uint32(f.bits)))
		for ; count > 0; count-- {
			to = append(to, math.Float32frombits(binary.LittleEndian.Uint32(rest[1:size])))
			rest = rest[size:]
		}
		return to, rest, nil
	}
	b, err := f.fixed(nil, 4)
	to = slices.Grow(to, len(b)/4)
	for ; len(b) > 0; b = b[4:] {
		to = append(to, math.Float32frombits(binary.LittleEndian.Uint32(b)))
	}
	return to, rest, err
}

func (f field) textRun(to []string, rest []byte) ([]string, []byte, error) {
	if err := f.want(protowire.BytesType); err != nil {
		return nil, nil, err
	}
	tag, count := f.tag(), 1
	for b := rest; len(b) > 0 && b[0] == tag; count++ {
		n := protowire.ConsumeFieldValue(f.num, f.typ, b[1:])
		if n < 0 {
			break
		}
		b = b[1+n:]
	}
	to = appendText(slices.Grow(to, count), f.bytes)
	for len(rest) > 0 && rest[0] == tag {
		b, n := protowire.ConsumeBytes(rest[1:])
		if n < 0 {
			break
		}
		to, rest = appendText(to, b), rest[1+n:]
	}
	return to, rest, nil
}

// appendText appends a string. One that is among the last few is used again: the modes
// of tree nodes are one or two words, over and over.
func appendText(to []string, b []byte) []string {
	for _, s := range to[max(len(to)-4, 0):] {
		if s == string(b) {
			return append(to, s)
		}
	}
	return append(to, string(b))
}
