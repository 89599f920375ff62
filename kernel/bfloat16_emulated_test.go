//go:build linux && amd64 && !purego

package kernel

import (
	"bytes"
	"debug/elf"
	"debug/gosym"
	endian "encoding/binary"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"os"
	"os/exec"
	"strings"
	"testing"
	"unsafe"

	"tandem/kernel/ref"
)

// emulator is bench/emulate.py, which runs code on an emulated processor. Memory has the
// addresses that it has here.
type emulator struct {
	in   io.Writer
	out  io.Reader
	code []byte // of the function, at
	at   uint64
}

// newEmulator starts the emulator for a function of assembly.
func newEmulator(t *testing.T, function string) *emulator {
	t.Helper()
	command := os.Getenv("TANDEM_EMULATE")
	if command == "" {
		t.Skip("SKIPPED: no emulated processor: run make test-bf16")
	}
	words := strings.Fields(command)
	cmd := exec.Command(words[0], words[1:]...)
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		in.Close()
		if err := cmd.Wait(); err != nil {
			t.Error(err)
		}
	})
	code, at := codeOf(t, function)
	return &emulator{in: in, out: out, code: code, at: at}
}

// codeOf is the code of a function of assembly and its address in this program, which
// has a table of functions even where go test strips symbols.
func codeOf(t *testing.T, function string) (code []byte, at uint64) {
	t.Helper()
	path, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	f, err := elf.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	text, lines := f.Section(".text"), f.Section(".gopclntab")
	if text == nil || lines == nil {
		t.Fatal("the test has no sections .text and .gopclntab")
	}
	data, err := lines.Data()
	if err != nil {
		t.Fatal(err)
	}
	table, err := gosym.NewTable(nil, gosym.NewLineTable(data, text.Addr))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range table.Funcs {
		if file, _, _ := table.PCToLine(f.Entry); f.Name != "tandem/kernel."+function || !strings.HasSuffix(file, ".s") {
			continue // Go's wrapper has the same name
		}
		code = make([]byte, f.End-f.Entry)
		if _, err := text.ReadAt(code, int64(f.Entry-text.Addr)); err != nil {
			t.Fatal(err)
		}
		return code, f.Entry
	}
	t.Fatalf("no function %s", function)
	return nil, 0
}

// region is memory of this process.
type region struct {
	at   unsafe.Pointer
	size int
}

func memoryOf[T any](x []T) region {
	var one T
	return region{unsafe.Pointer(unsafe.SliceData(x)), len(x) * int(unsafe.Sizeof(one))}
}

func (s region) bytes() []byte { return unsafe.Slice((*byte)(s.at), s.size) }

// call runs the function with one argument, a pointer to the first of the spans of memory
// that it reads, and copies back the last one.
func (e *emulator) call(t *testing.T, spans ...region) {
	t.Helper()
	var b bytes.Buffer
	put := func(v uint64) { b.Write(endian.LittleEndian.AppendUint64(nil, v)) }
	block := func(at uint64, data []byte) {
		put(at)
		put(uint64(len(data)))
		b.Write(data)
	}
	put(uint64(len(spans) + 1))
	block(e.at, e.code)
	for _, s := range spans {
		block(uint64(uintptr(s.at)), s.bytes())
	}
	put(e.at)
	put(uint64(uintptr(spans[0].at)))
	last := spans[len(spans)-1]
	put(uint64(uintptr(last.at)))
	put(uint64(last.size))
	if _, err := e.in.Write(b.Bytes()); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(e.out, last.bytes()); err != nil {
		t.Fatalf("the emulator has ended: %v", err)
	}
}

// TestDotTileEmulated runs the kernel of VDPBF16PS, as it is assembled, on an emulated
// processor that has the instruction, and compares all bits with the reference: sizes
// and edges of tiles, each start, numbers above and below the normal ones.
func TestDotTileEmulated(t *testing.T) {
	e := newEmulator(t, "tileDotAVX512")
	r := rand.New(rand.NewPCG(16, 9))
	for i := range 400 {
		c := randomDotTile(r, 1+i%12)
		args := c.args()
		e.call(t, region{unsafe.Pointer(args), int(unsafe.Sizeof(*args))}, memoryOf(c.A), memoryOf(c.B), memoryOf(c.bias), memoryOf(c.C))
		got := c.C
		c.C = c.before
		c.Run()
		for j := range got {
			if a, b := got[j], c.C[j]; math.Float32bits(a) != math.Float32bits(b) && (a == a || b == b) {
				t.Fatalf("%v: number %d is %x, want %x", c, j, math.Float32bits(a), math.Float32bits(b))
			}
		}
	}
}

// dotTile is a tile with what lies in C before.
type dotTile struct {
	ref.DotTile
	bias, before []float32
	bounded      bool
}

func (c *dotTile) String() string {
	return fmt.Sprintf("%d×%d of %d words, strides %d, %d and %d, from C %v, bias %v, ReLU %v", c.Rows, c.Cols, c.Words, c.RS, c.KS, c.CS, c.FromC, c.ColumnBias != nil, c.ReLU)
}

func randomDotTile(r *rand.Rand, rows int) *dotTile {
	number := func() uint32 {
		switch bits := r.Uint32(); r.IntN(40) {
		case 0:
			return bits & 0x807fffff // below the normal ones, or zero
		case 1:
			return bits&0x80000000 | 0x7f800000
		case 2, 3, 4:
			return bits&0x81ffffff | 0x20000000 // whose products are
		default:
			return bits&0x83ffffff | 0x3c000000
		}
	}
	pair := func() uint32 { return number()>>16 | number()&0xffff0000 }
	c := &dotTile{bias: make([]float32, 32)}
	c.Rows, c.Cols, c.Words, c.BS, c.ReLU = rows, 1+r.IntN(32), r.IntN(40), 32, r.IntN(2) == 0
	c.RS, c.KS, c.CS = c.Words+r.IntN(5), 1, c.Cols+r.IntN(5)
	if r.IntN(4) == 0 {
		c.Cols, c.CS = 32, 32
	}
	c.A = make([]uint32, 1+rows*c.RS)
	if r.IntN(3) == 0 { // A is transposed
		c.RS, c.KS = 1, rows+r.IntN(5)
		c.A = make([]uint32, 1+c.Words*c.KS)
	}
	c.B = make([]uint32, 32*(c.Words+1))
	if c.bounded = r.IntN(3) == 0; c.bounded { // B ends with the last column
		c.BS = c.Cols
		c.B = make([]uint32, 1+c.Words*c.BS)
	}
	c.C = make([]float32, rows*c.CS)
	for _, words := range [][]uint32{c.A, c.B} {
		for i := range words {
			words[i] = pair()
		}
	}
	for _, floats := range [][]float32{c.C, c.bias} {
		for i := range floats {
			floats[i] = math.Float32frombits(number())
		}
	}
	switch r.IntN(3) {
	case 0:
		c.FromC = true
	case 1:
		c.ColumnBias = c.bias[:c.Cols]
	}
	c.before = append([]float32(nil), c.C...)
	return c
}

func (c *dotTile) args() *tileArgs {
	a := &tileArgs{
		a: unsafe.Pointer(&c.A[0]), b: unsafe.Pointer(&c.B[0]), c: unsafe.Pointer(&c.C[0]),
		rs: uintptr(c.RS) * 4, ks: uintptr(c.KS) * 4, bs: uintptr(c.BS) * 4, cs: uintptr(c.CS) * 4,
		k: c.Words, rows: c.Rows, mask: uint32(uint64(1)<<c.Cols - 1), ahead: 128 * aheadRows,
	}
	if c.bounded {
		a.bounded = 1
	}
	if c.FromC {
		a.start = startC
	}
	if c.ColumnBias != nil {
		a.start, a.bias = startColumnBias, unsafe.Pointer(&c.bias[0])
	}
	if c.ReLU {
		a.relu = 1
	}
	return a
}
