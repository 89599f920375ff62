"""Records testdata/resize.txt with Pillow, which resize.go follows to the bit.

Pillow 12.2 scales columns first where a picture loses more rows than columns; every
version before it scales rows first, and so do we.

pip install pillow==11.3.0; python3 testdata/resize.py > testdata/resize.txt
"""
import hashlib
from PIL import Image, ImageOps

CASES = [
    (w, h, c, ow, oh)
    for c in (1, 3)
    for (w, h, ow, oh) in [
        (28, 28, 28, 14), (56, 56, 28, 28), (57, 31, 28, 28), (31, 57, 28, 28), (5, 3, 28, 28),
        (640, 480, 224, 224), (7, 900, 32, 32), (1, 1, 4, 4), (100, 28, 28, 28), (28, 100, 28, 28),
        (333, 77, 50, 200), (224, 224, 225, 223), (3000, 2, 28, 28), (101, 203, 64, 48), (14, 14, 28, 28),
    ]
]


def samples(n):
    state, out = 1, bytearray()
    for i in range(n):
        state = (state * 1664525 + 1013904223) % 2**32
        out.append(state >> 24)
    return bytes(out)


for w, h, c, ow, oh in CASES:
    picture = Image.frombytes("L" if c == 1 else "RGB", (w, h), samples(w * h * c))
    for mode, scaled in (
        ("stretch", picture.resize((ow, oh), Image.BILINEAR)),
        ("crop", ImageOps.fit(picture, (ow, oh), Image.BILINEAR)),
    ):
        print(mode, w, h, c, ow, oh, hashlib.sha256(scaled.tobytes()).hexdigest())
