"""The instructions of AMX on bytes, in Python: the emulated processor of emulate.py has none.

Written from Intel's manual (volume 2), without regard to the kernels: it decodes the bytes
that the assembler wrote, and fails on whatever else is there.
"""

REGISTERS = "rax rcx rdx rbx rsp rbp rsi rdi r8 r9 r10 r11 r12 r13 r14 r15".split()
NONE, P66, F3, F2 = range(4)


class Invalid(Exception):
    """What a processor would raise an exception for."""


class Instruction:
    """VEX.128.W0 in the map 0F38, with its operands."""

    def __init__(self, code, state):
        if code[0] != 0xC4 or code[1] & 31 != 2 or code[2] >> 2 & 1 or code[2] >> 7:
            raise Invalid(f"not an instruction of AMX: {code.hex()}")
        self.prefix, self.opcode, self.third = code[2] & 3, code[3], ~code[2] >> 3 & 15
        high = [~code[1] >> b & 1 for b in (5, 6)]  # B, X
        mod, self.reg, self.rm = code[4] >> 6, code[4] >> 3 & 7, code[4] & 7
        self.memory, self.length, self.stride = mod != 3, 5, None
        if not self.memory:
            return
        base = self.rm
        if self.rm == 4:
            scale, index, base = code[5] >> 6, code[5] >> 3 & 7 | high[1] << 3, code[5] & 7
            self.stride = getattr(state, REGISTERS[index]) << scale if index != 4 else 0
            self.length += 1
        if mod == 0 and base == 5:
            raise Invalid("an address without a base")
        self.address = getattr(state, REGISTERS[base | high[0] << 3])
        size = {0: 0, 1: 1, 2: 4}[mod]
        self.address += int.from_bytes(code[self.length : self.length + size], "little", signed=True)
        self.length += size


class Tiles:
    """Eight tiles and their shapes: bytes of a row, rows."""

    def __init__(self):
        self.shapes, self.data = None, None

    def step(self, memory, state):
        """Does the instruction at rip; its length."""
        i = Instruction(memory.read(state.rip, 16), state)
        match i.opcode, i.prefix, i.memory:
            case 0x49, 0, True:
                self.configure(memory.read(i.address, 64))
            case 0x49, 0, False if i.reg == i.rm == 0:
                self.shapes = None
            case 0x49, 3, False:
                width, rows = self.shape(i.reg)
                self.data[i.reg] = [bytes(width)] * rows
            case 0x4B, 3, True:
                width, rows = self.shape(i.reg)
                self.data[i.reg] = [memory.read(i.address + r * i.stride, width) for r in range(rows)]
            case 0x4B, 2, True:
                width, rows = self.shape(i.reg)
                for r, row in enumerate(self.data[i.reg]):
                    memory.write(i.address + r * i.stride, row)
            case 0x5E, 1, False:
                self.multiply(i.reg, i.rm, i.third)
            case _:
                raise Invalid(f"opcode {i.opcode:#x} with prefix {i.prefix}")
        return i.length

    def configure(self, operand):
        if operand[0] != 1 or operand[1] or any(operand[2:16]) or any(operand[32:48]) or any(operand[56:64]):
            raise Invalid(f"a configuration of {operand.hex()}")
        self.shapes = [(int.from_bytes(operand[16 + 2 * t : 18 + 2 * t], "little"), operand[48 + t]) for t in range(8)]
        for width, rows in self.shapes:
            if width > 64 or rows > 16 or (width == 0) != (rows == 0):
                raise Invalid(f"a tile of {rows} rows of {width} bytes")
        self.data = [[bytes(width)] * rows for width, rows in self.shapes]

    def shape(self, tile):
        if not self.shapes or not self.shapes[tile][0]:
            raise Invalid(f"tile {tile} has no shape")
        return self.shapes[tile]

    def multiply(self, c, a, b):
        """TDPBUSD: unsigned bytes of a times signed ones of b, words of four at a time."""
        (width, rows), (k, rows_a), (width_b, rows_b) = self.shape(c), self.shape(a), self.shape(b)
        if len({a, b, c}) < 3 or rows != rows_a or width != width_b or k != 4 * rows_b or width % 4:
            raise Invalid(f"a product of {rows_a} rows of {k} bytes and {rows_b} of {width_b} to {rows} of {width}")
        signed = [[v - 256 if v > 127 else v for v in row] for row in self.data[b]]
        columns = [[v for row in signed for v in row[j : j + 4]] for j in range(0, width, 4)]
        for i, row in enumerate(self.data[c]):
            left, sums = self.data[a][i], []
            for j, column in enumerate(columns):
                s = int.from_bytes(row[4 * j : 4 * j + 4], "little") + sum(map(int.__mul__, left, column))
                sums.append((s & 0xFFFFFFFF).to_bytes(4, "little"))
            self.data[c][i] = b"".join(sums)
