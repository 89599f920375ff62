"""Records what ggml's reference quantisers and dequantisers give, as ggml.txt.

    python ggml.py LIBRARY > ggml.txt

LIBRARY is ggml-base as a shared library (from a static one:
gcc -shared -o libggml-base.so -Wl,--whole-archive libggml-base.a -Wl,--no-whole-archive -lm -lpthread -lstdc++).
A line has the format, the number of the case, and SHA-256 of the blocks and of the numbers read back."""

import ctypes
import hashlib
import sys

import numpy as np

FORMATS = {"F16": 1, "Q4_0": 2, "Q4_1": 3, "Q5_0": 6, "Q5_1": 7, "Q8_0": 8, "Q4_K": 12, "Q5_K": 13, "Q6_K": 14, "BF16": 30}
N, CASES = 4096, 12


def splitmix(seed, n):
    with np.errstate(over="ignore"):
        z = np.uint64(seed) + np.uint64(0x9E3779B97F4A7C15) * np.arange(1, n + 1, dtype=np.uint64)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return z ^ (z >> np.uint64(31))


def numbers(case):
    """Sums of four signed integers of 24 bits, scaled; every kind of block in turn."""
    raw = splitmix(case, 4 * N) >> np.uint64(40)
    x = (raw.astype(np.int64) - (1 << 23)).reshape(N, 4).sum(1).astype(np.float32) * np.float32(2.0**-25)
    kind = case % 6
    if kind == 1:
        x = np.abs(x)
    elif kind == 2:
        x[splitmix(case + 100, N) % np.uint64(8) != 0] = 0
    elif kind == 3:
        x = x * np.float32(2.0) ** np.repeat(np.arange(N // 32) % 20 - 15, 32).astype(np.float32)
    elif kind == 4:
        x = np.round(x * 8).astype(np.float32) / np.float32(8)
    elif kind == 5:
        x = np.where(np.arange(N) // 256 % 3 == 0, np.float32(0), -np.abs(x)).astype(np.float32)
    return x.astype(np.float32)


def main():
    lib = ctypes.CDLL(sys.argv[1])
    f = ctypes.POINTER(ctypes.c_float)
    lib.ggml_quantize_chunk.restype = ctypes.c_size_t
    lib.ggml_quantize_chunk.argtypes = [ctypes.c_int, f, ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64, ctypes.c_int64, ctypes.c_void_p]
    for name, number in FORMATS.items():
        decode = getattr(lib, {"F16": "ggml_fp16_to_fp32_row", "BF16": "ggml_bf16_to_fp32_row"}.get(name, "dequantize_row_" + name.lower().replace("_k", "_K")))
        decode.argtypes = [ctypes.c_void_p, f, ctypes.c_int64]
        decode.restype = None
        for case in range(CASES):
            x = numbers(case)
            blocks = np.zeros(4 * N, np.uint8)
            size = lib.ggml_quantize_chunk(number, x.ctypes.data_as(f), blocks.ctypes.data, 0, 1, N, None)
            y = np.zeros(N, np.float32)
            decode(blocks.ctypes.data, y.ctypes.data_as(f), N)
            print(name, case, hashlib.sha256(blocks[:size].tobytes()).hexdigest(), hashlib.sha256(y.tobytes()).hexdigest())


main()
