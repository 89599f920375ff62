package data

import (
	"context"
	"encoding/binary"
	"io"
	"os"
	"path/filepath"
	"strings"

	"tandem/fault"
	"tandem/tensor"
)

// TokensColumn holds windows of a token stream, int64 [n,Window+1]: each begins
// with the token that the one before ends with, so that every token but the first
// is once what follows others.
const TokensColumn = "tokens"

const (
	defaultWindow = 128
	maxWindow     = 1 << 20
	maxToken      = 1<<24 - 1
)

// tokens is a file of tokens of 1, 2 or 4 bytes, little-endian.
type tokens struct {
	path   string
	file   *os.File
	width  int
	window int
	rows   int // windows of a block
}

// TokenBytes is how many bytes a token has in a file of such a name: 1 where the bytes of
// a text are the tokens.
func TokenBytes(path string) int {
	switch strings.ToLower(filepath.Ext(path)) {
	case ".bin", ".u16", ".tokens":
		return 2
	case ".u32":
		return 4
	}
	return 1
}

func openTokens(ctx context.Context, path string, opt Options) (train, test *Dataset, err error) {
	if opt.Window == 0 {
		opt.Window = defaultWindow
	}
	if opt.Window < 1 || opt.Window > maxWindow {
		return nil, nil, fault.New(openOp, fault.Invalid, "windows of %d tokens", opt.Window).Try("give data.window from 1 to 1048576")
	}
	all, n, classes, err := openStream(ctx, path, opt.Window)
	if err != nil {
		return nil, nil, err
	}
	d := all.dataset(n, classes)
	if opt.TestPath == "" {
		// Neighbours are alike: the end is held out, not windows here and there.
		held := int(float64(n)*opt.Split.Test + 0.5)
		if held == n {
			_ = all.Close() // it was only read
			return nil, nil, fault.New(openOp, fault.Invalid, "%s has %d windows, and all of them are to test with", filepath.Base(path), n).
				Try("give a longer file, set data.window smaller, or data.split.test")
		}
		if held > 0 {
			return d.Slice(0, n-held), d.Slice(n-held, n), nil
		}
		return d, nil, nil
	}
	other, m, more, err := openStream(ctx, opt.TestPath, opt.Window)
	if err != nil {
		_ = all.Close() // the error that stopped it counts
		return nil, nil, err
	}
	if all.width != other.width {
		_, _ = all.Close(), other.Close() // they were only read
		return nil, nil, fault.New(openOp, fault.Invalid, "%s has tokens of %d bytes, %s of %d", filepath.Base(opt.TestPath), other.width, filepath.Base(path), all.width).
			Try("give both of one kind")
	}
	classes = max(classes, more)
	train, test = all.dataset(n, classes), other.dataset(m, classes)
	train.own(other)
	return train, test, nil
}

// openStream counts the windows of a file, and the tokens that there are.
func openStream(ctx context.Context, path string, window int) (t *tokens, n, classes int, err error) {
	info, err := lookAt(path)
	if err == nil && info.IsDir() {
		err = fault.New(openOp, fault.Invalid, "%s is a folder", filepath.Base(path)).Try("give one file of tokens, or a text")
	}
	if err != nil {
		return nil, 0, 0, err
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, 0, 0, fault.Wrap(err, openOp, fault.KindOf(err), "the data cannot be read").Try("give the path of a file or a folder of data")
	}
	t = &tokens{path: path, file: f, width: TokenBytes(path), window: window}
	t.rows = max(1, blockBytes/(8*window))
	count, most, err := t.count(ctx)
	if err == nil && count < window+1 {
		err = fault.New(openOp, fault.Invalid, "%s has %d tokens, an example takes %d", filepath.Base(path), count, window+1).
			Try("give a longer file, or set data.window smaller")
	}
	if err != nil {
		_ = f.Close() // it was only read
		return nil, 0, 0, err
	}
	return t, (count - 1) / window, most + 1, nil
}

// count reads the whole file: how many tokens, and the largest.
func (t *tokens) count(ctx context.Context) (n, most int, err error) {
	buf, raw := make([]int64, 64<<10), make([]byte, 64<<10*t.width)
	for {
		if ctx.Err() != nil {
			return 0, 0, fault.From(ctx.Err(), openOp)
		}
		k, err := io.ReadFull(t.file, raw)
		if k%t.width != 0 {
			return 0, 0, fault.New(openOp, fault.Invalid, "%s does not hold whole tokens of %d bytes", filepath.Base(t.path), t.width).
				Try("name files of 2 bytes a token .u16, of 4 bytes .u32, and text .txt")
		}
		t.widen(buf[:k/t.width], raw)
		for i, v := range buf[:k/t.width] {
			if v > maxToken {
				return 0, 0, fault.New(openOp, fault.Invalid, "%s: token %d is %d, they go up to %d", filepath.Base(t.path), n+i+1, v, maxToken).
					Try("write the numbers of tokens, without negative ones, lowest byte first")
			}
			most = max(most, int(v))
		}
		n += k / t.width
		if err == io.EOF || err == io.ErrUnexpectedEOF {
			return n, most, nil
		}
		if err != nil {
			return 0, 0, fault.From(err, openOp)
		}
	}
}

func (t *tokens) widen(dst []int64, raw []byte) {
	for i := range dst {
		switch t.width {
		case 1:
			dst[i] = int64(raw[i])
		case 2:
			dst[i] = int64(binary.LittleEndian.Uint16(raw[2*i:]))
		default:
			dst[i] = int64(binary.LittleEndian.Uint32(raw[4*i:]))
		}
	}
}

func (t *tokens) dataset(n, classes int) *Dataset {
	var rows []int
	for ; n > 0; n -= t.rows {
		rows = append(rows, min(n, t.rows))
	}
	return newStream([]Field{{Name: TokensColumn, DType: tensor.Int64, Shape: tensor.Shape{t.window + 1}, Classes: classes}}, t, rows)
}

func (t *tokens) load(block, lo, hi int, dst []*tensor.Tensor) error {
	first, n := (block*t.rows+lo)*t.window, (hi-lo)*t.window+1
	raw := make([]byte, n*t.width)
	if _, err := t.file.ReadAt(raw, int64(first*t.width)); err != nil {
		return fault.Wrap(err, "data.read", fault.KindOf(err), "%s cannot be read", filepath.Base(t.path)).Try("check that it is whole and is not being changed")
	}
	out := dst[0].I64()
	for i := range hi - lo {
		t.widen(out[i*(t.window+1):(i+1)*(t.window+1)], raw[i*t.window*t.width:])
	}
	return nil
}

func (t *tokens) Close() error { return fault.From(t.file.Close(), "data.close") }
