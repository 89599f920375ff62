package processor

import (
	"encoding/json"
	"math"
	"math/big"
	"reflect"
	"strings"
	"testing"

	"tandem/fault"
	"tandem/tensor"
)

func digits() *Image {
	return &Image{Height: 28, Width: 28, Channels: 1, Scale: 1. / 255, Mean: []float32{0.1307}, Std: []float32{0.3081}}
}

func photos() *Image {
	return &Image{Height: 5, Width: 7, Channels: 3, Scale: 1. / 255,
		Mean: []float32{0.485, 0.456, 0.406}, Std: []float32{0.229, 0.224, 0.225}, Resize: ResizeCrop}
}

// TestPixelsFollowsTheRule computes the rule with numbers of unlimited precision,
// rounded where it says so.
func TestPixelsFollowsTheRule(t *testing.T) {
	p := photos()
	src := make([]uint8, 256*p.Height*p.Width*3)
	copy(src, samples(len(src)))
	dst := tensor.New(tensor.Float32, 256, 3, p.Height, p.Width)
	if err := p.Pixels(dst, tensor.Of(src, 256, p.Height, p.Width, 3)); err != nil {
		t.Fatal(err)
	}
	plane := p.Height * p.Width
	for i, got := range dst.F32() {
		n, c, at := i/(3*plane), i/plane%3, i%plane
		v := src[(n*plane+at)*3+c]
		if want := rule(v, p.Scale, p.Mean[c], p.Std[c]); math.Float32bits(got) != math.Float32bits(want) {
			t.Fatalf("value %d of channel %d is %v, want %v", v, c, got, want)
		}
	}
}

func rule(v uint8, scale, mean, std float32) float32 {
	number := func(x float64) *big.Float { return new(big.Float).SetPrec(53).SetFloat64(x) }
	x := number(0).Mul(number(float64(v)), number(float64(scale)))
	x.Sub(x, number(float64(mean)))
	x.Quo(x, number(float64(std)))
	y, _ := x.Float32()
	return y
}

func TestPixelsOfOneChannelTakesThreeDimensions(t *testing.T) {
	p, src := digits(), samples(3*28*28)
	want, got := tensor.New(tensor.Float32, 3, 1, 28, 28), tensor.New(tensor.Float32, 3, 1, 28, 28)
	if err := p.Pixels(want, tensor.Of(src, 3, 28, 28, 1)); err != nil {
		t.Fatal(err)
	}
	if err := p.Pixels(got, tensor.Of(src, 3, 28, 28)); err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(got.F32(), want.F32()) {
		t.Error("[N,H,W] gives other values than [N,H,W,1]")
	}
	for i, v := range src {
		if math.Float32bits(got.F32()[i]) != math.Float32bits(rule(v, p.Scale, p.Mean[0], p.Std[0])) {
			t.Fatalf("pixel %d of value %d is %v", i, v, got.F32()[i])
		}
	}
}

func TestScaleOf255thsReachesOne(t *testing.T) {
	p := &Image{Height: 1, Width: 2, Channels: 1, Scale: 1. / 255}
	dst := tensor.New(tensor.Float32, 1, 1, 1, 2)
	if err := p.Pixels(dst, tensor.Of([]uint8{0, 255}, 1, 1, 2)); err != nil || dst.F32()[0] != 0 || dst.F32()[1] != 1 {
		t.Errorf("0 and 255 become %v, %v", dst.F32(), err)
	}
}

func TestPixelsRefusesWhatDoesNotFit(t *testing.T) {
	gray, colour := digits(), photos()
	for name, tc := range map[string]struct {
		p        *Image
		dst, src *tensor.Tensor
	}{
		"float source":    {gray, tensor.New(tensor.Float32, 1, 1, 28, 28), tensor.New(tensor.Float32, 1, 28, 28)},
		"other size":      {gray, tensor.New(tensor.Float32, 1, 1, 28, 28), tensor.New(tensor.Uint8, 1, 28, 27)},
		"channels first":  {gray, tensor.New(tensor.Float32, 1, 1, 28, 28), tensor.New(tensor.Uint8, 1, 1, 28, 28)},
		"three of colour": {colour, tensor.New(tensor.Float32, 1, 3, 5, 7), tensor.New(tensor.Uint8, 1, 5, 7)},
		"no batch":        {gray, tensor.New(tensor.Float32, 1, 1, 28, 28), tensor.New(tensor.Uint8, 28, 28)},
		"other batch":     {gray, tensor.New(tensor.Float32, 2, 1, 28, 28), tensor.New(tensor.Uint8, 1, 28, 28)},
		"flat result":     {gray, tensor.New(tensor.Float32, 1, 784), tensor.New(tensor.Uint8, 1, 28, 28)},
		"five dimensions": {gray, tensor.New(tensor.Float32, 1, 1, 28, 28, 1), tensor.New(tensor.Uint8, 1, 28, 28)},
		"three":           {gray, tensor.New(tensor.Float32, 1, 1, 28), tensor.New(tensor.Uint8, 1, 28, 28)},
		"double result":   {gray, tensor.New(tensor.Float64, 1, 1, 28, 28), tensor.New(tensor.Uint8, 1, 28, 28)},
		"last channels":   {colour, tensor.New(tensor.Float32, 1, 5, 7, 3), tensor.New(tensor.Uint8, 1, 5, 7, 3)},
	} {
		if err := tc.p.Pixels(tc.dst, tc.src); fault.KindOf(err) != fault.Invalid || fault.RemedyOf(err) == "" {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestPixelsDoesNotAllocate(t *testing.T) {
	for _, p := range []*Image{digits(), photos()} {
		dst := tensor.New(tensor.Float32, 8, p.Channels, p.Height, p.Width)
		src := tensor.New(tensor.Uint8, 8, p.Height, p.Width, p.Channels)
		if n := testing.AllocsPerRun(20, func() { _ = p.Pixels(dst, src) }); n != 0 {
			t.Errorf("%d channels: %v allocations", p.Channels, n)
		}
	}
}

func TestValidate(t *testing.T) {
	nan, inf := float32(math.NaN()), float32(math.Inf(1))
	for name, change := range map[string]func(p *Image){
		"no height":          func(p *Image) { p.Height = 0 },
		"a huge width":       func(p *Image) { p.Width = maxSide + 1 },
		"two channels":       func(p *Image) { p.Channels = 2 },
		"no scale":           func(p *Image) { p.Scale = 0 },
		"a scale of NaN":     func(p *Image) { p.Scale = nan },
		"an endless scale":   func(p *Image) { p.Scale = inf },
		"too few means":      func(p *Image) { p.Mean = p.Mean[:2] },
		"too few deviations": func(p *Image) { p.Std = p.Std[:2] },
		"a mean of NaN":      func(p *Image) { p.Mean[1] = nan },
		"a deviation of 0":   func(p *Image) { p.Std[2] = 0 },
		"a deviation of NaN": func(p *Image) { p.Std[2] = nan },
		"an overflow":        func(p *Image) { p.Scale, p.Std[2] = 1e30, 1e-30 },
		"an unknown resize":  func(p *Image) { p.Resize = "squeeze" },
	} {
		p := photos()
		if err := p.Validate(); err != nil {
			t.Fatal(err)
		}
		change(p)
		if err := p.Validate(); fault.KindOf(err) != fault.Invalid || fault.RemedyOf(err) == "" {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestJSONKeepsEveryBit(t *testing.T) {
	for _, p := range []*Image{digits(), photos(), {Height: 1, Width: 2, Channels: 3, Scale: 3e-45}} {
		text, err := json.Marshal(p)
		if err != nil {
			t.Fatal(err)
		}
		var got Image
		if err := json.Unmarshal(text, &got); err != nil || !reflect.DeepEqual(&got, p) {
			t.Errorf("%s: got %+v, %v", text, got, err)
		}
	}
}

func TestJSONIsStrict(t *testing.T) {
	for text, says := range map[string]string{
		`{"height":28,"width":28,"channels":1,"scale":1,"gamma":2}`:          `"gamma"`,
		`{"Height":28,"width":28,"channels":1,"scale":1}`:                    `"Height"`,
		`{"height":28,"width":28,"channels":1,"scale":1,"scale":2}`:          `twice`,
		`{"height":28,"width":28,"channels":1}`:                              `scale`,
		`{"height":28,"width":28,"channels":1,"scale":"1"}`:                  `scale`,
		`{"height":28.5,"width":28,"channels":1,"scale":1}`:                  `height`,
		`{"height":28,"width":28,"channels":1,"scale":1e99}`:                 `scale`,
		`{"height":28,"width":28,"channels":1,"scale":1,"mean":[1,2]}`:       `2 means`,
		`{"height":28,"width":28,"channels":1,"scale":1,"resize":"cropped"}`: `resize`,
		`[1]`:  `object`,
		`null`: `object`,
	} {
		p := *photos()
		err := p.UnmarshalJSON([]byte(text))
		if err == nil || fault.KindOf(err) != fault.Invalid || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: %v", text, err)
		}
		if !reflect.DeepEqual(p, *photos()) {
			t.Errorf("%s: changed its target", text)
		}
	}
	var manifest struct{ Image *Image }
	if err := json.Unmarshal([]byte(`{"Image":{"height":1,"width":1,"channels":1,"scale":1,"x":0}}`), &manifest); fault.KindOf(err) != fault.Invalid {
		t.Errorf("inside of another object: %v", err)
	}
}

func BenchmarkPixels(b *testing.B) {
	for name, p := range map[string]*Image{
		"gray28x28":     digits(),
		"colour224x224": {Height: 224, Width: 224, Channels: 3, Scale: 1. / 255},
	} {
		b.Run(name, func(b *testing.B) {
			dst := tensor.New(tensor.Float32, 64, p.Channels, p.Height, p.Width)
			src := tensor.Of(samples(dst.Len()), 64, p.Height, p.Width, p.Channels)
			b.SetBytes(int64(dst.Len()))
			for b.Loop() {
				_ = p.Pixels(dst, src)
			}
		})
	}
}
