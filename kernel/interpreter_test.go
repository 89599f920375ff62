//go:build linux && amd64 && !purego

package kernel

import (
	endian "encoding/binary"
	"fmt"
	"testing"
	"unsafe"

	"tandem/kernel/ref"
)

// interpreter runs a function of assembly with the instructions of AMX on any processor:
// the very bytes that were assembled, one instruction after the other, on the memory of
// this process. It knows what our functions consist of and no more. It faults where a
// processor does (Intel 64 and IA-32 Architectures Software Developer's Manual, volume 2),
// at an access outside of the memory that the test names, and if the function leaves tiles
// configured.
type interpreter struct {
	name      string
	code      []byte
	at, next  int        // where this instruction begins in code, and where what is not read of it
	registers [16]uint64 // in the order of their numbers: RAX, RCX, RDX, RBX, RSP, RBP, RSI, RDI, R8 …
	zero      bool       // the flag; no other is known
	// What it may read only, and what it may write too.
	readable, writable []region

	configured  bool
	rows, bytes [8]int // of the tiles; 0: there is no such tile
	tiles       [8][tileWords]float32
}

const (
	tileWords = 256 // 16 rows of 16
	rowBytes  = 64

	rsp, rbp = 4, 5
	// mostInstructions of one call; more are taken for an endless loop.
	mostInstructions = 1 << 20
)

// trap is why the function cannot go on.
type trap string

func trapf(format string, args ...any) { panic(trap(fmt.Sprintf(format, args...))) }

func unknown() { trapf("an unknown instruction") }

func newInterpreter(t *testing.T, function string) *interpreter {
	t.Helper()
	code, _ := codeOf(t, function)
	return &interpreter{name: function, code: code}
}

// call runs the function with a pointer to arg, which it may also write.
func (p *interpreter) call(arg region, reads, writes []region) (err error) {
	*p = interpreter{name: p.name, code: p.code}
	for i := range p.registers {
		p.registers[i] = 0xdead<<48 | uint64(i) // no address
	}
	stack := []uint64{0, uint64(uintptr(arg.at))} // the first is where RET goes to
	frame, base := uint64(uintptr(memoryOf(stack).at)), p.registers[rbp]
	p.registers[rsp] = frame
	p.readable, p.writable = append(reads, memoryOf(stack)), append(writes, arg)
	defer func() {
		switch r := recover().(type) {
		case nil:
		case trap:
			err = fmt.Errorf("%s+%#x (% x): %s", p.name, p.at, p.code[p.at:min(p.next, len(p.code))], string(r))
		default:
			panic(r)
		}
	}()
	for range mostInstructions {
		p.at = p.next
		if p.step() {
			switch {
			case p.registers[rsp] != frame || p.registers[rbp] != base:
				trapf("the stack pointer or RBP is not what it was")
			case p.configured:
				trapf("the tiles are not released")
			}
			return nil
		}
	}
	trapf("no end after %d instructions", mostInstructions)
	return nil
}

// bytesAt is memory that is read or written.
func (p *interpreter) bytesAt(address uint64, size int, write bool) []byte {
	if b := within(p.writable, address, size); b != nil {
		return b
	}
	b := within(p.readable, address, size)
	switch {
	case b != nil && write:
		trapf("writes %d bytes at %#x, which are only to be read", size, address)
	case b == nil && write:
		trapf("writes %d bytes at %#x, outside of what it is given", size, address)
	case b == nil:
		trapf("reads %d bytes at %#x, outside of what it is given", size, address)
	}
	return b
}

// within is the bytes at an address if one of the regions has all of them, or nil.
func within(regions []region, address uint64, size int) []byte {
	for _, s := range regions {
		offset := address - uint64(uintptr(s.at))
		if offset <= uint64(s.size) && uint64(size) <= uint64(s.size)-offset {
			return s.bytes()[offset:][:size]
		}
	}
	return nil
}

// take is the next byte or four of the instruction, as a signed number.
func (p *interpreter) take(size int) int64 {
	p.next += size
	if p.next > len(p.code) {
		trapf("the code ends")
	}
	code := p.code[p.next-size : p.next]
	if size == 1 {
		return int64(int8(code[0]))
	}
	return int64(int32(endian.LittleEndian.Uint32(code)))
}

// operands are what the byte ModRM and what follows it name: a register, and a register or
// memory.
type operands struct {
	reg, rm int    // rm is -1: memory
	address uint64 // less the index
	index   uint64 // scaled; 0 if there is none
	indexed bool   // there is a byte SIB
}

// operands reads them. The bits of prefix that extend the registers lie as in REX.
func (p *interpreter) operands(prefix int) operands {
	b := int(p.take(1))
	mod, rm := b>>6&3, b&7
	o := operands{reg: b>>3&7 | prefix&4<<1, rm: -1}
	extend := prefix & 1 << 3
	if mod == 3 {
		o.rm = rm | extend
		return o
	}
	if o.indexed = rm == 4; o.indexed {
		sib := int(p.take(1))
		rm = sib & 7
		if index := sib>>3&7 | prefix&2<<2; index != rsp {
			o.index = p.registers[index] << (sib >> 6 & 3)
		}
	}
	if mod == 0 && rm == 5 {
		unknown() // an address without a base
	}
	o.address = p.registers[rm|extend]
	switch mod {
	case 1:
		o.address += uint64(p.take(1))
	case 2:
		o.address += uint64(p.take(4))
	}
	return o
}

// get is the value of the second operand, set replaces it.
func (p *interpreter) get(o operands) uint64 {
	if o.rm >= 0 {
		return p.registers[o.rm]
	}
	return endian.LittleEndian.Uint64(p.bytesAt(o.address+o.index, 8, false))
}

func (p *interpreter) set(o operands, v uint64) {
	if o.rm >= 0 {
		p.registers[o.rm] = v
		return
	}
	endian.LittleEndian.PutUint64(p.bytesAt(o.address+o.index, 8, true), v)
}

// flags sets the flag by a result.
func (p *interpreter) flags(v uint64) uint64 {
	p.zero = v == 0
	return v
}

// step runs one instruction; it is true after the last.
func (p *interpreter) step() bool {
	op, rex := int(uint8(p.take(1))), 0
	if op>>4 == 4 {
		rex, op = op, int(uint8(p.take(1)))
	}
	if op == 0x0f {
		op = op<<8 | int(uint8(p.take(1)))
	}
	switch {
	case op == 0xc3: // RET
		return true
	case op == 0xeb, op&^1 == 0x74: // JMP, JE, JNE
		p.jump(op, 1)
	case op == 0xe9, op&^1 == 0x0f84:
		p.jump(op, 4)
	case op == 0xc4 && rex == 0:
		p.tileInstruction()
	case op == 0x0f18: // PREFETCHT0, which never faults
		if o := p.operands(rex); o.rm >= 0 || o.reg&7 != 1 {
			unknown()
		}
	case rex&8 == 0:
		unknown() // or not of 64 bits
	default:
		p.integer(op, p.operands(rex))
	}
	return false
}

func (p *interpreter) jump(op, size int) {
	by := int(p.take(size))
	if op == 0xeb || op == 0xe9 || p.zero == (op&1 == 0) {
		p.next += by
	}
	if p.next < 0 || p.next >= len(p.code) {
		trapf("jumps out of the function")
	}
}

// integer runs an instruction of 64-bit numbers.
func (p *interpreter) integer(op int, o operands) {
	reg := &p.registers[o.reg]
	switch op {
	case 0x8b: // MOV
		*reg = p.get(o)
	case 0x89:
		p.set(o, *reg)
	case 0x8d: // LEA
		if o.rm >= 0 {
			unknown()
		}
		*reg = o.address + o.index
	case 0x03: // ADD
		*reg = p.flags(*reg + p.get(o))
	case 0x01:
		p.set(o, p.flags(p.get(o)+*reg))
	case 0x85: // TEST
		p.flags(p.get(o) & *reg)
	default: // the register's number is part of the opcode
		switch op<<4 | o.reg&7 {
		case 0x830: // ADD
			p.set(o, p.flags(p.get(o)+uint64(p.take(1))))
		case 0x810:
			p.set(o, p.flags(p.get(o)+uint64(p.take(4))))
		case 0xc70: // MOV
			p.set(o, uint64(p.take(4)))
		case 0x837: // CMP
			p.flags(p.get(o) - uint64(p.take(1)))
		case 0xc14: // SHL
			by := p.take(1) & 63
			if by == 0 {
				unknown() // it would leave the flag
			}
			p.set(o, p.flags(p.get(o)<<by))
		case 0xff1: // DEC
			p.set(o, p.flags(p.get(o)-1))
		default:
			unknown()
		}
	}
}

// tileInstruction runs one with the prefix VEX, whose fields besides the registers are held
// inverted.
func (p *interpreter) tileInstruction() {
	first, second, op := int(p.take(1)), int(p.take(1)), int(uint8(p.take(1)))
	const map0F38 = 2
	if first&31 != map0F38 || second&0x84 != 0 {
		unknown()
	}
	third := ^second >> 3 & 15
	o := p.operands(^first >> 5 & 7)
	switch op = op<<4 | second&3; {
	case op == 0x5c2: // TDPBF16PS
		p.multiply(o, third, func(c, a, b *[tileWords]float32, rows, cols, words int) {
			(&ref.BFloat16Tiles{Rows: rows, Cols: cols, Words: words, A: bitsAt(a[:]), RS: 16, B: bitsAt(b[:]), BS: 16, C: c[:], CS: 16, FromC: true}).Run()
		})
	case op == 0x5e1: // TDPBUSD
		p.multiply(o, third, func(c, a, b *[tileWords]float32, rows, cols, words int) {
			sums, left, right := unsafe.Slice((*int32)(unsafe.Pointer(c)), tileWords), memoryOf(a[:]).bytes(), memoryOf(b[:]).bytes()
			for i := range rows {
				for j := range cols {
					for k := range 4 * words {
						sums[16*i+j] += int32(left[rowBytes*i+k]) * int32(int8(right[rowBytes*(k/4)+4*j+k%4]))
					}
				}
			}
		})
	case third != 0:
		unknown()
	case op == 0x493 && o.rm == 0: // TILEZERO
		clear(p.tile(o.reg)[:])
	case op == 0x4b3, op == 0x4b2: // TILELOADD, TILESTORED
		p.move(o, op == 0x4b2)
	case op == 0x490 && o.rm < 0 && o.reg == 0: // LDTILECFG
		p.configure(p.bytesAt(o.address+o.index, 64, false))
	case op == 0x490 && o.rm == 0 && o.reg == 0: // TILERELEASE
		p.configured = false
	default:
		unknown()
	}
}

// configure sets the shapes of the tiles, and all of them to zero.
func (p *interpreter) configure(c []byte) {
	p.configured = true
	clear(p.tiles[:])
	for _, reserved := range [][]byte{c[1:16], c[32:48], c[56:64]} {
		for _, b := range reserved {
			if b != 0 {
				trapf("the configuration % x has a reserved byte that is not zero", c)
			}
		}
	}
	for i := range p.rows {
		p.bytes[i], p.rows[i] = int(endian.LittleEndian.Uint16(c[16+2*i:])), int(c[48+i])
		if c[0] != 1 || p.rows[i] > 16 || p.bytes[i] > rowBytes || (p.rows[i] == 0) != (p.bytes[i] == 0) {
			trapf("palette %d, tile %d of %d rows of %d bytes", c[0], i, p.rows[i], p.bytes[i])
		}
	}
}

// tile is a tile that is configured.
func (p *interpreter) tile(i int) *[tileWords]float32 {
	if !p.configured || i >= len(p.tiles) || p.rows[i] == 0 {
		trapf("tile %d is not configured", i)
	}
	return &p.tiles[i]
}

// move loads or stores a tile; the index is the step between rows.
func (p *interpreter) move(o operands, store bool) {
	tile := p.tile(o.reg)
	if !o.indexed {
		unknown()
	}
	all := memoryOf(tile[:]).bytes()
	for i := range p.rows[o.reg] {
		row, of := all[i*rowBytes:][:p.bytes[o.reg]], p.bytesAt(o.address+uint64(i)*o.index, p.bytes[o.reg], store)
		if store {
			copy(of, row)
		} else {
			copy(row, of)
		}
	}
}

// multiply adds the product of tiles a and b of words of 4 bytes to c.
func (p *interpreter) multiply(o operands, third int, product func(c, a, b *[tileWords]float32, rows, cols, words int)) {
	if o.rm < 0 {
		unknown()
	}
	c, a, b := o.reg, o.rm, third
	to, left, right := p.tile(c), p.tile(a), p.tile(b)
	switch {
	case c == a || c == b || a == b:
		trapf("tiles %d, %d and %d are not three", c, a, b)
	case p.rows[c] != p.rows[a] || p.bytes[c] != p.bytes[b] || p.bytes[a] != 4*p.rows[b] || p.bytes[b]%4 != 0:
		trapf("tile %d (%d rows of %d bytes) is not to have the product of tiles %d (%d of %d) and %d (%d of %d)",
			c, p.rows[c], p.bytes[c], a, p.rows[a], p.bytes[a], b, p.rows[b], p.bytes[b])
	}
	product(to, left, right, p.rows[c], p.bytes[c]/4, p.rows[b])
}
