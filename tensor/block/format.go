package block

import "fmt"

// Format is an encoding, numbered as ggml numbers its types, which is how GGUF
// files name them.
type Format uint32

const (
	F32  Format = 0
	F16  Format = 1
	Q4_0 Format = 2
	Q4_1 Format = 3
	Q5_0 Format = 6
	Q5_1 Format = 7
	Q8_0 Format = 8
	Q4_K Format = 12
	Q5_K Format = 13
	Q6_K Format = 14
	BF16 Format = 30
)

// layout is the size of one block. Formats without a codec are known by size, so
// that a file in which one of them occurs can be read, and refused by name only
// when that tensor is used.
type layout struct {
	name     string
	elements int // numbers in a block
	bytes    int // bytes of a block
	codec    bool
}

var layouts = map[Format]layout{
	F32: {"F32", 1, 4, true}, F16: {"F16", 1, 2, true}, BF16: {"BF16", 1, 2, true},
	Q4_0: {"Q4_0", 32, 18, true}, Q4_1: {"Q4_1", 32, 20, true},
	Q5_0: {"Q5_0", 32, 22, true}, Q5_1: {"Q5_1", 32, 24, true}, Q8_0: {"Q8_0", 32, 34, true},
	Q4_K: {"Q4_K", 256, 144, true}, Q5_K: {"Q5_K", 256, 176, true}, Q6_K: {"Q6_K", 256, 210, true},

	9: {"Q8_1", 32, 36, false}, 10: {"Q2_K", 256, 84, false}, 11: {"Q3_K", 256, 110, false}, 15: {"Q8_K", 256, 292, false},
	16: {"IQ2_XXS", 256, 66, false}, 17: {"IQ2_XS", 256, 74, false}, 18: {"IQ3_XXS", 256, 98, false},
	19: {"IQ1_S", 256, 50, false}, 20: {"IQ4_NL", 32, 18, false}, 21: {"IQ3_S", 256, 110, false},
	22: {"IQ2_S", 256, 82, false}, 23: {"IQ4_XS", 256, 136, false}, 29: {"IQ1_M", 256, 56, false},
	24: {"I8", 1, 1, false}, 25: {"I16", 1, 2, false}, 26: {"I32", 1, 4, false}, 27: {"I64", 1, 8, false}, 28: {"F64", 1, 8, false},
	34: {"TQ1_0", 256, 54, false}, 35: {"TQ2_0", 256, 66, false},
	39: {"MXFP4", 32, 17, false}, 40: {"NVFP4", 64, 36, false}, 41: {"Q1_0", 128, 18, false}, 42: {"Q2_0", 64, 18, false},
}

// Parse finds a format by its name, such as "Q4_K".
func Parse(name string) (Format, error) {
	for f, l := range layouts {
		if l.name == name {
			return f, nil
		}
	}
	return 0, fmt.Errorf("no format of weights is called %.40q", name)
}

// String is the name that llama.cpp gives the format, such as "Q4_K".
func (f Format) String() string {
	if l, ok := layouts[f]; ok {
		return l.name
	}
	return fmt.Sprintf("format(%d)", uint32(f))
}

// Known reports whether the size of f's blocks is known.
func (f Format) Known() bool { _, ok := layouts[f]; return ok }

// Codec reports whether Encode and Decode do f.
func (f Format) Codec() bool { return layouts[f].codec }

// Elements is how many numbers a block holds: a row has a multiple of it. It is 0
// for a format that is not known.
func (f Format) Elements() int { return layouts[f].elements }

// Bytes is the size of a block.
func (f Format) Bytes() int { return layouts[f].bytes }

// Size is the number of bytes of n numbers, a multiple of Elements.
func (f Format) Size(n int) int {
	l := layouts[f]
	return n / l.elements * l.bytes
}
