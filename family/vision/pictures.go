package vision

import (
	"context"
	"runtime"
	"strings"
	"sync"

	"tandem/data"
	"tandem/fault"
	"tandem/processor"
	"tandem/tensor"
)

// defaultSide is what pictures of several sizes, or of large ones, are brought to.
const defaultSide = 64

// isPictures tells whether a set holds the files of pictures, not their pixels.
func isPictures(d *data.Dataset) bool {
	f, ok := d.Field(data.ImageColumn)
	return ok && f.DType == tensor.String
}

// describePictures finds size, colour and the mean and deviation of each channel. Every
// picture is decoded once for this, so that a broken one stops the run before it begins.
// A network that has its own way to see pictures, given, keeps it.
func describePictures(ctx context.Context, m Model, given *processor.Image, trainSet, testSet *data.Dataset) (*processor.Image, error) {
	p := given
	if p == nil {
		p = &processor.Image{Channels: 3, Scale: 1.0 / 255, Resize: processor.Resize(m.Resize)}
		if p.Height, p.Width = m.size(); p.Height == 0 {
			var err error
			if p.Height, p.Width, err = commonSize(trainSet); err != nil {
				return nil, err
			}
		}
		if m.Colour == "gray" {
			p.Channels = 1
		}
	}
	if err := p.Validate(); err != nil {
		return nil, err
	}
	var sum, none colours
	if err := sum.addAll(ctx, p, trainSet); err != nil {
		return nil, err
	}
	if err := none.addAll(ctx, p, testSet); err != nil {
		return nil, err
	}
	if given != nil {
		return p, nil
	}
	if m.Colour == "auto" && !sum.coloured {
		p.Channels = 1
	}
	p.Mean, p.Std = make([]float32, p.Channels), make([]float32, p.Channels)
	for c := range p.Channels {
		p.Mean[c], p.Std[c] = sum.channel[c].moments()
	}
	return p, nil
}

// commonSize is that of the pictures if they share one that is small, else the default.
func commonSize(d *data.Dataset) (height, width int, err error) {
	same := true
	err = d.Scan(func(part *data.Dataset) error {
		pictures, _ := part.Column(data.ImageColumn)
		for i, text := range pictures.Strings() {
			h, w, err := processor.Size([]byte(text), processor.DefaultLimits())
			if err != nil {
				return named(err, part, i)
			}
			if height == 0 {
				height, width = h, w
			}
			same = same && h == height && w == width
		}
		return nil
	})
	if !same || height > defaultSide || width > defaultSide {
		return defaultSide, defaultSide, err
	}
	return height, width, err
}

// named says which picture an error is about.
func named(err error, d *data.Dataset, i int) error {
	files, _ := d.Column(data.FileColumn)
	return fault.Wrap(err, "vision.picture", fault.KindOf(err), "picture %s", files.Strings()[i]).Try("save it anew, or take it out of the data")
}

// colours adds up the pixels of pictures. Sums of whole numbers do not depend on their
// order.
type colours struct {
	coloured bool // some pixel's channels differ
	channel  [3]sums
}

// sums are of pixels, and of their squares.
type sums struct{ n, sum, squares uint64 }

func (s *sums) add(pixel uint8) {
	s.n++
	s.sum += uint64(pixel)
	s.squares += uint64(pixel) * uint64(pixel)
}

func (c *colours) join(o colours) {
	c.coloured = c.coloured || o.coloured
	for i, s := range o.channel {
		c.channel[i].n += s.n
		c.channel[i].sum += s.sum
		c.channel[i].squares += s.squares
	}
}

// add counts the interleaved channels of a picture.
func (c *colours) add(pixels []uint8, channels int) {
	for i, v := range pixels {
		c.channel[i%channels].add(v)
		c.coloured = c.coloured || i%channels > 0 && v != pixels[i-1]
	}
}

// addAll decodes every picture of a set, on all processors, and adds it.
func (c *colours) addAll(ctx context.Context, p *processor.Image, d *data.Dataset) error {
	workers := runtime.GOMAXPROCS(0)
	return d.Scan(func(part *data.Dataset) error {
		if ctx.Err() != nil {
			return fault.From(ctx.Err(), "vision.describe")
		}
		sums, errs := make([]colours, workers), make([]error, part.Len())
		var wait sync.WaitGroup
		for k := range workers {
			wait.Go(func() {
				for i := k; i < part.Len(); i += workers {
					var pixels *tensor.Tensor
					if pixels, errs[i] = decode(p, part, i); errs[i] == nil {
						sums[k].add(pixels.Bytes(), p.Channels)
					}
				}
			})
		}
		wait.Wait()
		for _, err := range errs {
			if err != nil {
				return err
			}
		}
		for _, s := range sums {
			c.join(s)
		}
		return nil
	})
}

// decode is picture i of a part that lies in memory, as pixels.
func decode(p *processor.Image, part *data.Dataset, i int) (*tensor.Tensor, error) {
	pictures, _ := part.Column(data.ImageColumn)
	pixels, err := p.Decode(strings.NewReader(pictures.Strings()[i]), processor.DefaultLimits())
	if err != nil {
		return nil, named(err, part, i)
	}
	return pixels, nil
}

// feedPictures decodes as serving does.
func feedPictures(image *processor.Image, examples *data.Dataset, dst *tensor.Tensor) error {
	for i := range examples.Len() {
		pixels, err := decode(image, examples, i)
		if err != nil {
			return err
		}
		if err := image.Pixels(dst.Rows(i, i+1), pixels); err != nil {
			return err
		}
	}
	return nil
}
