package kernel

import "unsafe"

// patches is the geometry of an implicit im2col matrix. Its columns are the
// points of a grid, image after image; its rows are taps: (channel, ty, tx).
// The element is the source pixel
//
//	(gy·strideH + y0 + ty·stepY, gx·strideW + x0 + tx·stepX)
//
// or zero outside the image. A convolution reads its input this way, and the
// gradient of its input reads the gradient of its output this way, once for
// each residue of the position by the stride.
type patches struct {
	srcH, srcW       int
	imageStride      int // elements between images
	gridH, gridW     int
	strideH, strideW int
	tapsH, tapsW     int
	y0, x0           int
	stepY, stepX     int
}

func (g *patches) taps() int { return g.tapsH * g.tapsW }
func (g *patches) grid() int { return g.gridH * g.gridW }

// piece says which lanes of one half of a row of a panel come from contiguous
// source pixels, and where lane 0 would be, in bytes from the channel's first
// element. A half row is its pieces, and zero in the lanes that none has. The
// layout is known to the generator in kernel/asm.
type piece struct {
	offset int64
	mask   uint32
	_      uint32
}

// pieces is the greatest number of pieces in a half row of lanes.
func (g *patches) pieces(lanes int) int {
	switch {
	case g.strideW != 1:
		return lanes
	case g.gridW%lanes == 0:
		return 1
	case lanes%g.gridW == 0:
		return lanes / g.gridW
	}
	return min(lanes, (lanes-2)/g.gridW+2)
}

// run is a stretch of grid points in one row of one image, within a half row.
type run struct {
	half, lane, length int // lane within the half
	image, gy, gx      int
}

// runs cuts columns [q,q+n) into runs; the result is the used part of buf.
func (g *patches) runs(buf *[maxColumns]run, q, n, lanes int) []run {
	count := 0
	image, rest := q/g.grid(), q%g.grid()
	gy, gx := rest/g.gridW, rest%g.gridW
	for at := 0; at < n; {
		length := min(n-at, g.gridW-gx, lanes-at%lanes)
		buf[count] = run{half: at / lanes, lane: at % lanes, length: length, image: image, gy: gy, gx: gx}
		count++
		at += length
		if gx += length; gx == g.gridW {
			gx = 0
			if gy++; gy == g.gridH {
				gy = 0
				image++
			}
		}
	}
	return buf[:count]
}

// maxColumns is the width of the widest panel.
const maxColumns = 32

// describe fills list, [taps][2][pieces], for the panel of columns [q,q+n).
func (g *patches) describe(list []piece, q, n, lanes int) {
	var buf [maxColumns]run
	np := g.pieces(lanes)
	runs := g.runs(&buf, q, n, lanes)
	clear(list)
	for ty := range g.tapsH {
		for tx := range g.tapsW {
			tap := list[(ty*g.tapsW+tx)*2*np:][:2*np]
			g.describeTap(tap, runs, np, g.y0+ty*g.stepY, g.x0+tx*g.stepX)
		}
	}
}

// describeTap fills the two half rows of the tap that reads dy, dx away.
func (g *patches) describeTap(tap []piece, runs []run, np, dy, dx int) {
	used := [2]int{}
	for i := range runs {
		r := &runs[i]
		sy, sx := r.gy*g.strideH+dy, r.gx*g.strideW+dx
		if sy < 0 || sy >= g.srcH {
			continue
		}
		base := r.image*g.imageStride + sy*g.srcW
		if g.strideW == 1 {
			from, until := max(0, -sx), min(r.length, g.srcW-sx)
			if from < until {
				tap[r.half*np+used[r.half]] = piece{
					offset: int64(base+sx-r.lane) * 4,
					mask:   (1<<until - 1<<from) << r.lane,
				}
				used[r.half]++
			}
			continue
		}
		for j := range r.length {
			if x := sx + j*g.strideW; x >= 0 && x < g.srcW {
				tap[r.half*np+used[r.half]] = piece{offset: int64(base+x-r.lane-j) * 4, mask: 1 << (r.lane + j)}
				used[r.half]++
			}
		}
	}
}

// packPatches writes the rows of channels channels, each taps half-row pairs
// as list says, to dst with a stride of ds elements. src starts at the first
// channel of the first image; channelStride is in elements.
func packPatches(isa ISA, dst []float32, ds int, src []float32, channels, channelStride int, list []piece, taps, np int) {
	lanes := shapeOf(isa).cols / 2
	if isa != Generic {
		_ = dst[(channels*taps-1)*ds+2*lanes-1]
		args := packArgs{
			dst: unsafe.Pointer(&dst[0]), src: unsafe.Pointer(&src[0]), list: unsafe.Pointer(&list[0]),
			ds: uintptr(ds) * 4, channelStride: uintptr(channelStride) * 4,
			channels: channels, taps: taps, pieces: np,
			ahead: list[(taps*2-1)*np].offset + int64(16*lanes),
		}
		packAsm(isa, &args)
		return
	}
	for c := range channels {
		for t := range taps {
			row := dst[(c*taps+t)*ds:][:2*lanes]
			clear(row)
			for h := range 2 {
				for _, p := range list[(t*2+h)*np:][:np] {
					for l := range lanes {
						if p.mask>>l&1 != 0 {
							row[h*lanes+l] = src[c*channelStride+int(p.offset/4)+l]
						}
					}
				}
			}
		}
	}
}

// packArgs is the argument of the assembly behind packPatches; strides are in
// bytes. The layout is known to the generator in kernel/asm.
type packArgs struct {
	dst, src, list         unsafe.Pointer
	ds, channelStride      uintptr
	channels, taps, pieces int
	// ahead is what to prefetch of every channel: the pixels that the panel
	// after the next meets first. Planes are too many and too far apart for
	// the processor to see the pattern; this gave the input gradients 20 %.
	ahead int64
}
