//go:build linux && amd64 && !purego

package kernel

import (
	"encoding/hex"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"unsafe"
)

// TestTilesInterpreted runs the product on tiles, as it is assembled, on processors that
// have none, and compares all bits with the reference: whole blocks and parts, several
// panels and parts of one, words that fill tiles and that do not, each start. It may read
// no more of A, B and the start than there is, and write nothing but C.
func TestTilesInterpreted(t *testing.T) {
	p := newInterpreter(t, "amxBFloat16")
	r := rand.New(rand.NewPCG(16, 11))
	part := func(kind int) int { // of a block, or several
		return []int{1 + r.IntN(amxTile), amxTile + 1 + r.IntN(amxTile-1), amxBlock * (1 + r.IntN(3))}[kind%3]
	}
	for i := range 2 * 81 {
		rows, cols := part(i), part(i/3)
		words := []int{1 + r.IntN(amxTile-1), amxTile * (1 + r.IntN(3)), 1 + r.IntN(60)}[i/9%3]
		x := randomTiles(r, rows, cols, words, uint32(i/27%startRowBias))
		want := *x
		want.isa, want.c = Generic, slices.Clone(x.c)
		want.run(rows, cols)
		if err := interpretTiles(p, x, rows, cols); err != nil {
			t.Fatalf("%d×%d of %d words, start %d: %v", rows, cols, words, x.start, err)
		}
		sameTiles(t, x, rows, cols, want.c)
	}
}

// interpretTiles is amxBlocks of one call: whole blocks of rows or part of one, whole panels or
// part of one.
func interpretTiles(p *interpreter, x *tileRun, rows, cols int) error {
	panels, width := ceilDiv(cols, amxBlock), min(cols, amxBlock)
	var zero [amxBlock]float32
	var shapes [2]amxShape
	args := []amxArgs{x.blockArgs(0, rows, 0, cols, &zero, &shapes)}
	c := x.c[:(rows-1)*x.cs+cols]
	reads := []region{memoryOf(x.a[:(rows-1)*x.rs+x.k]), memoryOf(x.b[:(panels-1)*x.panel+(x.k-1)*x.bs+width]), memoryOf(shapes[:])}
	switch x.start {
	case startZero:
		reads = append(reads, memoryOf(zero[:width]))
	case startColumnBias:
		reads = append(reads, memoryOf(x.bias))
	}
	return p.call(memoryOf(args), reads, []region{memoryOf(c)})
}

// TestInterpreterIsStrict: what a processor refuses, and what a function must not do.
func TestInterpreterIsStrict(t *testing.T) {
	const (
		argument  = "488b442408" // MOVQ 8(SP), AX
		configure = "c4e2784900" // LDTILECFG (AX)
		release   = "c4e27849c0c3"
		multiply  = "c4e24a5cc4" // TDPBF16PS of tiles 4 and 6, to 0
		load      = "c4e27b4b0420"
	)
	for name, x := range map[string]struct {
		code, want string
		change     func(c []byte)
	}{
		"what is right":            {argument + configure + multiply + load + release, "", nil},
		"an instruction":           {"90c3", "unknown instruction", nil},
		"32 bits":                  {"8b442408c3", "unknown instruction", nil},
		"another condition":        {"7f00c3", "unknown instruction", nil},
		"no end":                   {"ebfe", "no end", nil},
		"no RET":                   {argument, "the code ends", nil},
		"jumps away":               {"eb70c3", "jumps out", nil},
		"any address":              {"488b00c3", "reads 8 bytes at 0xdead", nil},
		"past the end":             {argument + "488b4039c3", "outside", nil},
		"up to the end":            {argument + "488b4038c3", "", nil},
		"writes what is to read":   {"4889442408c3", "only to be read", nil},
		"stack pointer":            {"4883c408c3", "the stack pointer", nil},
		"RBP":                      {"4883c501c3", "RBP", nil},
		"no release":               {argument + configure + "c3", "not released", nil},
		"not configured":           {argument + load + release, "tile 0 is not", nil},
		"not configured again":     {argument + configure + "c4e27849c0" + multiply + "c3", "tile 0 is not", nil},
		"twice the same":           {argument + configure + "c4e24a5cc6" + release, "are not three", nil},
		"no such tile":             {argument + configure + multiply + release, "tile 6 is not", func(c []byte) { c[48+6], c[16+12] = 0, 0 }},
		"rows of C":                {argument + configure + multiply + release, "is not to have", func(c []byte) { c[48]-- }},
		"columns of C":             {argument + configure + multiply + release, "is not to have", func(c []byte) { c[16] -= 4 }},
		"rows of B":                {argument + configure + multiply + release, "is not to have", func(c []byte) { c[48+6]-- }},
		"too many rows":            {argument + configure + release, "17 rows", func(c []byte) { c[48+3] = 17 }},
		"too many bytes":           {argument + configure + release, "of 68 bytes", func(c []byte) { c[16+6] = 68 }},
		"rows without bytes":       {argument + configure + release, "of 0 bytes", func(c []byte) { c[16+6] = 0 }},
		"palette":                  {argument + configure + release, "palette 2", func(c []byte) { c[0] = 2 }},
		"reserved":                 {argument + configure + release, "reserved", func(c []byte) { c[40] = 1 }},
		"a load past the end":      {argument + configure + "c4e27b4b442001" + release, "reads 64 bytes", nil},
		"a store past the end":     {argument + configure + "c4e27a4b442001" + release, "writes 64 bytes", nil},
		"a store without an index": {argument + configure + "c4e27a4b00" + release, "unknown instruction", nil},
	} {
		code, err := hex.DecodeString(x.code)
		if err != nil {
			t.Fatal(err)
		}
		shape := amxShapeOf(amxBlock, amxBlock, amxTile)
		arg := memoryOf(slices.Clone(unsafe.Slice((*byte)(unsafe.Pointer(&shape)), unsafe.Sizeof(shape))))
		if x.change != nil {
			x.change(arg.bytes())
		}
		err = (&interpreter{name: "code", code: code}).call(arg, nil, nil)
		if (err == nil) != (x.want == "") || err != nil && !strings.Contains(err.Error(), x.want) {
			t.Errorf("%s: %v, want %q", name, err, x.want)
		}
	}
}
