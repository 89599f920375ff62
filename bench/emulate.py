"""Runs functions of Go assembly on an emulated processor: that of Bochs, with the features
of Sapphire Rapids. For instructions that the processor at hand does not have.

Run it by `make test-bf16`, which builds what it needs: a library (emulate.c) that must be
preloaded, and the package bochscpu-python. It reads calls from its input, all numbers of 64
bits: a count of spans of memory, for each its address, its length and its bytes; the
address of a function; its argument, a pointer; address and length of what to write to the
output. Memory has the addresses that it has in the process that calls.
"""

import os
import struct
import sys

import bochscpu
import bochscpu.cpu
import bochscpu.memory

PAGE = 4096
PART = 1 << 39
# Below the addresses of Go programs: page tables, a stack, and where functions return to.
TABLES, STACK, HALT = 0x100000, 0x200000, 0x300000
LIMIT_INSTRUCTIONS = 10_000_000


class Memory:
    """Pages of the emulated processor. Addresses are the same memory modulo PART."""

    def __init__(self):
        self.pages = {}  # the address of each without the part it is in
        entry = lambda at, flags: struct.pack("<Q", at | flags)
        present, gigabyte = 7, 0x87
        self.write(TABLES, 256 * entry(TABLES + PAGE, present))
        self.write(TABLES + PAGE, b"".join(entry(i << 30, gigabyte) for i in range(512)))
        self.write(STACK, bytes(PAGE))
        self.write(HALT, b"\xf4")

    def write(self, at, data):
        part, at = at - at % PART, at % PART
        for page in range(at & -PAGE, at + len(data), PAGE):
            if page not in self.pages:
                bochscpu.memory.page_insert(page, bochscpu.memory.allocate_host_page())
                self.pages[page] = part
            if self.pages[page] != part:
                fail("two parts of memory have the same address: run it again")
            lo, hi = max(page, at), min(page + PAGE, at + len(data))
            bochscpu.memory.phy_write(lo, list(data[lo - at : hi - at]))

    def read(self, at, size):
        at %= PART
        data = b""
        while size:
            n = min(size, PAGE - at % PAGE)
            data += bytes(bochscpu.memory.phy_read(at, n))
            at, size = at + n, size - n
        return data


def segment(selector, attributes):
    s = bochscpu.Segment()
    s.present, s.selector, s.attr, s.base, s.limit = True, selector, attributes, 0, 0xFFFFFFFF
    return s


def state_for(function):
    """A processor in 64-bit mode with AVX-512 switched on, about to run a function."""
    s = bochscpu.State()
    bochscpu.cpu.set_long_mode(s)
    fxsave, exceptions, xsave = 1 << 9, 1 << 10, 1 << 18
    s.cr4 = int(s.cr4) | fxsave | exceptions | xsave
    s.cr3, s.xcr0, s.mxcsr, s.mxcsr_mask, s.rflags = TABLES, 0xE7, 0x1F80, 0xFFFF, 2
    s.cs = segment(0x10, 0xA09B)
    s.ds = s.es = s.ss = s.fs = s.gs = segment(0x18, 0xC093)
    s.rip, s.rsp = function, STACK + PAGE // 2
    return s


def fail(message):
    print("emulate.py:", message, file=sys.stderr)
    sys.stderr.flush()
    os._exit(1)


def run(session, memory, function, argument):
    memory.write(STACK + PAGE // 2, struct.pack("<QQ", HALT, argument))
    session.cpu.state = state_for(function)
    count = 0

    def before(s, cpu, instruction):
        nonlocal count
        count += 1
        if count > LIMIT_INSTRUCTIONS:
            fail("the function does not end")

    hook = bochscpu.Hook()
    hook.before_execution = before
    hook.hlt = lambda s, cpu: s.stop()
    hook.exception = lambda s, cpu, vector, code: fail(f"exception {vector} (code {code}, address {s.cpu.state.cr2:#x}) at {s.cpu.state.rip:#x} of the function at {function:#x}")
    session.run([hook])


def main():
    calls, results = sys.stdin.buffer, sys.stdout.buffer

    def number():
        b = calls.read(8)
        if len(b) < 8:
            results.flush()
            os._exit(0)  # the package crashes when it is taken down
        return struct.unpack("<Q", b)[0]

    def missing(address):
        fail(f"memory at {address:#x} is read, which the call has not")

    memory, session = Memory(), bochscpu.Session()
    session.missing_page_handler = missing
    while True:
        for _ in range(number()):
            at, size = number(), number()
            memory.write(at, calls.read(size))
        run(session, memory, number(), number())
        at, size = number(), number()
        results.write(memory.read(at, size))
        results.flush()


if __name__ == "__main__":
    main()
