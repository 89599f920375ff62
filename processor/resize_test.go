package processor

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"testing"

	"tandem/fault"
)

// samples are noise that testdata/resize.py makes in the same way.
func samples(n int) []byte {
	state, out := uint32(1), make([]byte, n)
	for i := range out {
		state = state*1664525 + 1013904223
		out[i] = byte(state >> 24)
	}
	return out
}

func TestResizeIsPillowsToTheBit(t *testing.T) {
	golden, err := os.ReadFile("testdata/resize.txt")
	if err != nil {
		t.Fatal(err)
	}
	for lines := bufio.NewScanner(bytes.NewReader(golden)); lines.Scan(); {
		var (
			mode, sum       string
			w, h, c, ow, oh int
		)
		if _, err := fmt.Sscan(lines.Text(), &mode, &w, &h, &c, &ow, &oh, &sum); err != nil {
			t.Fatal(err)
		}
		p := &Image{Height: oh, Width: ow, Channels: c, Scale: 1, Resize: Resize(mode)}
		got, err := p.fit(pixels{w, h, c, samples(w * h * c)}, DefaultLimits())
		if err != nil {
			t.Errorf("%s: %v", lines.Text(), err)
		} else if s := fmt.Sprintf("%x", sha256.Sum256(got.data)); s != sum {
			t.Errorf("%s: got %s", lines.Text(), s)
		}
	}
}

func TestResizeKeepsAConstant(t *testing.T) {
	for _, v := range []byte{0, 1, 127, 255} {
		px := pixels{37, 91, 1, bytes.Repeat([]byte{v}, 37*91)}
		for _, mode := range []Resize{ResizeStretch, ResizeCrop} {
			p := &Image{Height: 28, Width: 28, Channels: 1, Scale: 1, Resize: mode}
			got, err := p.fit(px, DefaultLimits())
			if err != nil || !bytes.Equal(got.data, bytes.Repeat([]byte{v}, 28*28)) {
				t.Errorf("%s of %d: %v, %v", mode, v, got.data, err)
			}
		}
	}
}

func TestResizeBoundsWhatItAllocatesOnTheWay(t *testing.T) {
	p := &Image{Height: 28, Width: 1000, Channels: 1, Scale: 1, Resize: ResizeStretch}
	_, err := p.fit(newPixels(1, 5000, 1), Limits{Bytes: 1, Pixels: 5000})
	if e, ok := errors.AsType[*fault.Error](err); !ok || e.Kind != fault.TooLarge || e.Remedy == "" {
		t.Errorf("a picture of 1x5000 scaled to a width of 1000 gives %v", err)
	}
}

func TestResizeNoneRefusesAnotherSize(t *testing.T) {
	p := &Image{Height: 28, Width: 28, Channels: 1, Scale: 1}
	px := newPixels(28, 28, 1)
	if got, err := p.fit(px, DefaultLimits()); err != nil || &got.data[0] != &px.data[0] {
		t.Errorf("the right size: %v", err)
	}
	if _, err := p.fit(newPixels(29, 28, 1), DefaultLimits()); fault.KindOf(err) != fault.Invalid || fault.RemedyOf(err) == "" {
		t.Errorf("another size: %v", err)
	}
}
