package data

import (
	"archive/zip"
	"bufio"
	"cmp"
	"context"
	"errors"
	"image"
	"image/gif"
	"image/jpeg"
	"image/png"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"tandem/fault"
	"tandem/tensor"
)

// Limits of a picture: the file, and what it decodes to.
const (
	maxPictureBytes  = 32 << 20
	maxPicturePixels = 25 << 20
	maxPictures      = 16 << 20
)

// Columns of a dataset of pictures.
const (
	ImageColumn = "image" // the picture's file, as it is
	LabelColumn = "label" // its class
	FileColumn  = "file"  // its name
)

// pictures is a folder or a zip of pictures, read one at a time.
type pictures struct {
	where  string // as the user named it
	fsys   fs.FS
	closer io.Closer // of a zip
	list   []picture
}

type picture struct {
	name  string
	class int64
	bytes int64
}

func openPictures(ctx context.Context, where string, opt Options) (train, test *Dataset, err error) {
	all, err := listPictures(where)
	if err != nil {
		return nil, nil, err
	}
	held := &pictures{where: where, fsys: all.fsys}
	if opt.TestPath != "" {
		if held, err = listPictures(opt.TestPath); err != nil {
			return nil, nil, errors.Join(err, all.Close())
		}
	} else {
		all.list, held.list = all.parted(opt)
	}
	defer func() {
		if err != nil {
			_ = all.Close() // the error that stopped it counts
			_ = held.Close()
		}
	}()
	classes, err := nameClasses(all, held)
	if err != nil {
		return nil, nil, err
	}
	if err := checkHeld(all, held, classes); err != nil {
		return nil, nil, err
	}
	for _, p := range []*pictures{all, held} {
		if err := p.check(ctx, opt.MemoryBytes); err != nil {
			return nil, nil, err
		}
	}
	if len(all.list) == 0 {
		return nil, nil, fault.New(openOp, fault.Invalid, "%s has no pictures to train on", where).Try("give a folder or zip with a folder of pictures for each class")
	}
	train = all.dataset(classes)
	if len(held.list) > 0 {
		test = held.dataset(classes)
		train.own(held)
	}
	return train, test, nil
}

// listPictures lists what is in the folders of classes, in the order of the names.
func listPictures(where string) (*pictures, error) {
	info, err := lookAt(where)
	if err != nil {
		return nil, err
	}
	p := &pictures{where: where, fsys: os.DirFS(where)}
	if !info.IsDir() {
		z, err := zip.OpenReader(where)
		if kind := fault.KindOf(err); err != nil && kind != fault.Internal {
			return nil, fault.Wrap(err, openOp, kind, "the data cannot be read").Try("give the path of a file that may be read")
		}
		if err != nil {
			return nil, fault.Wrap(err, openOp, fault.Invalid, "%s is not a whole zip file", filepath.Base(where)).Try("pack it anew")
		}
		p.fsys, p.closer = z, z
	}
	if err := p.find(); err != nil {
		return nil, errors.Join(err, p.Close())
	}
	interleave(p.list)
	return p, nil
}

func (p *pictures) find() error {
	return fs.WalkDir(p.fsys, ".", func(name string, e fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return p.unreadable(err)
		case name == ".":
			return nil
		case strings.HasPrefix(e.Name(), ".") || e.Name() == "__MACOSX":
			if e.IsDir() {
				return fs.SkipDir
			}
			return nil // what systems leave beside the data
		case e.IsDir():
			return nil
		}
		if !strings.Contains(name, "/") {
			return p.bad(name, "it lies in no folder of a class").Try("put every picture into a folder named for its class, and take out what is none")
		}
		if len(p.list) == maxPictures {
			return fault.New(openOp, fault.TooLarge, "%s has more than %d pictures", p.where, maxPictures).Try("part it")
		}
		p.list = append(p.list, picture{name: name})
		return nil
	})
}

// unreadable says that a folder, or what a zip says of its files, cannot be listed.
func (p *pictures) unreadable(err error) error {
	kind := fault.KindOf(err)
	if p.closer != nil && kind == fault.Internal {
		kind = fault.Invalid // a damaged list of files, names with ".." and the like
	}
	return fault.Wrap(err, openOp, kind, "%s cannot be read", filepath.Base(p.where)).Try("check that it is whole and may be read")
}

// interleave orders the pictures so that the classes take turns: the first of each, in
// the order of the names, then the second of each. So the first few are of all classes.
func interleave(list []picture) {
	turn, next := map[string]int{}, map[string]int{}
	for _, x := range list {
		class := classOfFile(x.name)
		turn[x.name] = next[class]
		next[class]++
	}
	slices.SortStableFunc(list, func(a, b picture) int { return cmp.Compare(turn[a.name], turn[b.name]) })
}

// parted holds out what lies in a folder "test" or "val" beside one "train", or else
// the split's part of the pictures, but never the first of a class.
func (p *pictures) parted(opt Options) (train, test []picture) {
	tops := map[string]bool{}
	for _, x := range p.list {
		top, _, _ := strings.Cut(x.name, "/")
		tops[top] = true
	}
	folders := tops["train"] && len(tops) == 2 && (tops["test"] || tops["val"])
	s := splitter{opt: Split{Test: opt.Split.Test}, left: len(p.list)}
	s.wanted = int(float64(len(p.list))*opt.Split.Test + 0.5)
	s.random.Seed(opt.Split.Seed, splitStream)
	trained := map[string]bool{}
	for _, x := range p.list {
		held := folders && !strings.HasPrefix(x.name, "train/")
		if class := classOfFile(x.name); !folders {
			held = s.held(nil, !trained[class])
			trained[class] = trained[class] || !held
		}
		if held {
			test = append(test, x)
		} else {
			train = append(train, x)
		}
	}
	return train, test
}

// nameClasses numbers the folders by name.
func nameClasses(sets ...*pictures) ([]string, error) {
	index := map[string]int64{}
	for _, p := range sets {
		for _, x := range p.list {
			index[classOfFile(x.name)] = 0
		}
	}
	names := make([]string, 0, len(index))
	for name := range index {
		names = append(names, name)
	}
	slices.Sort(names)
	for i, name := range names {
		index[name] = int64(i)
	}
	for _, p := range sets {
		for i := range p.list {
			p.list[i].class = index[classOfFile(p.list[i].name)]
		}
	}
	if len(names) > maxValues {
		return nil, fault.New(openOp, fault.TooLarge, "%d folders of classes, at most %d", len(names), maxValues).Try("part the data")
	}
	return names, nil
}

// checkHeld refuses pictures to test with of a class that there are none of to train with.
func checkHeld(train, test *pictures, classes []string) error {
	if len(train.list) == 0 {
		return nil // which is refused by itself
	}
	var h heldClasses
	for _, x := range train.list {
		h.add(x.class, false, place{})
	}
	for _, x := range test.list {
		h.add(x.class, true, place{file: x.name})
	}
	if class, at, ok := h.alone(); ok {
		return heldAlone(openOp, classes[class], "%s: picture %s", filepath.Base(test.where), at.file)
	}
	return nil
}

func classOfFile(name string) string { return path.Base(path.Dir(name)) }

// check reads how every picture begins: whether it can be decoded, and how large it
// says to be.
func (p *pictures) check(ctx context.Context, memory int64) error {
	for i := range p.list {
		if ctx.Err() != nil {
			return fault.From(ctx.Err(), openOp)
		}
		if err := p.checkOne(&p.list[i]); err != nil {
			return err
		}
	}
	sizes := make([]int64, len(p.list))
	for i, x := range p.list {
		sizes[i] = x.bytes
	}
	slices.SortFunc(sizes, func(a, b int64) int { return cmp.Compare(b, a) })
	var window int64
	for _, n := range sizes[:min(len(sizes), windowBlocks)] {
		window += n
	}
	if 3*window > memory {
		return fault.New(openOp, fault.TooLarge, "the pictures are so large that reading them takes %d MiB of memory, and %d MiB are allowed", 3*window>>20+1, memory>>20).
			Try("allow more memory, or make the pictures smaller")
	}
	return nil
}

func (p *pictures) checkOne(x *picture) error {
	info, err := fs.Stat(p.fsys, x.name)
	if err == nil && !info.Mode().IsRegular() {
		return p.bad(x.name, "it is no file").Try("take it out")
	}
	var f fs.File
	if err == nil {
		f, err = p.fsys.Open(x.name)
	}
	if err != nil {
		return p.bad(x.name, "it cannot be opened: %v", err).Try("check that it is whole and may be read")
	}
	defer f.Close()
	if x.bytes = info.Size(); x.bytes > maxPictureBytes {
		return p.bad(x.name, "it has %d bytes, at most %d are read", x.bytes, maxPictureBytes).Try("make it smaller, or take it out")
	}
	head := bufio.NewReader(f)
	magic, _ := head.Peek(8)
	config, err := configOf(magic, head)
	switch {
	case err == errNoPicture:
		return p.bad(x.name, "it is neither PNG nor JPEG nor GIF").Try("convert it, or take it out")
	case err != nil:
		return p.bad(x.name, "it is damaged: %v", err).Try("save it anew, or take it out")
	case config.Width < 1 || config.Height < 1 || config.Width > maxPicturePixels/config.Height:
		return p.bad(x.name, "it is %d pixels wide and %d high, at most %d pixels are decoded", config.Width, config.Height, maxPicturePixels).
			Try("make it smaller, or take it out")
	}
	return nil
}

var errNoPicture = errors.New("no picture")

func configOf(magic []byte, r io.Reader) (image.Config, error) {
	switch {
	case strings.HasPrefix(string(magic), "\x89PNG"):
		return png.DecodeConfig(r)
	case strings.HasPrefix(string(magic), "\xff\xd8\xff"):
		return jpeg.DecodeConfig(r)
	case strings.HasPrefix(string(magic), "GIF8"):
		return gif.DecodeConfig(r)
	}
	return image.Config{}, errNoPicture
}

func (p *pictures) bad(name, format string, args ...any) *fault.Error {
	return fault.Wrap(fault.New("", fault.Invalid, format, args...), openOp, fault.Invalid, "%s: picture %s", filepath.Base(p.where), name)
}

func (p *pictures) dataset(classes []string) *Dataset {
	return newStream([]Field{
		{Name: ImageColumn, DType: tensor.String},
		{Name: LabelColumn, Kind: Category, DType: tensor.Int64, Classes: len(classes), Values: classes},
		{Name: FileColumn, Kind: Text, DType: tensor.String},
	}, p, slices.Repeat([]int{1}, len(p.list)))
}

// load reads one picture: it's a block of its own.
func (p *pictures) load(block, _, _ int, dst []*tensor.Tensor) error {
	x := p.list[block]
	f, err := p.fsys.Open(x.name)
	if err != nil {
		return p.bad(x.name, "it cannot be opened: %v", err).Try("check that it is whole and may be read")
	}
	defer f.Close()
	var text strings.Builder
	text.Grow(int(x.bytes))
	n, err := io.Copy(&text, io.LimitReader(f, x.bytes+1))
	if err == nil && n != x.bytes {
		err = errors.New("its size has changed")
	}
	if err != nil {
		return p.bad(x.name, "it cannot be read: %v", err).Try("check that it is whole and is not being changed")
	}
	dst[0].Strings()[0], dst[1].I64()[0], dst[2].Strings()[0] = text.String(), x.class, x.name
	return nil
}

func (p *pictures) Close() error {
	if p.closer == nil {
		return nil
	}
	return fault.From(p.closer.Close(), "data.close")
}
