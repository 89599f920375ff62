package data

import (
	"errors"
	"fmt"
	"io/fs"
	"strconv"
	"sync"

	"tandem/fault"
	"tandem/tensor"
)

// idxFileLimitBytes bounds what one file of a set may take in memory: EMNIST, the
// largest set in this form, takes a quarter of it.
const idxFileLimitBytes = 2 << 30

// idxNames are the files of a set, as the MNIST set named them and Fashion-MNIST,
// KMNIST and others kept them.
var idxNames = [4]string{
	"train-images-idx3-ubyte", "train-labels-idx1-ubyte",
	"t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte",
}

// OpenIDX reads a set in the form of MNIST: the four standard files, each with or
// without .gz, at the top of fsys or in its folder "data". Both datasets have the
// columns "image", uint8 [n,height,width], and "label", int64 [n]. A label that only
// the second has is refused.
func OpenIDX(fsys fs.FS) (train, test *Dataset, err error) {
	var (
		files [len(idxNames)]idxFile
		errs  [len(idxNames)]error
		wait  sync.WaitGroup
	)
	for i, name := range idxNames {
		wait.Go(func() { files[i], errs[i] = readIDXFile(fsys, name) })
	}
	wait.Wait()
	for _, err := range errs {
		if err != nil {
			return nil, nil, err
		}
	}
	return joinIDX(files)
}

type idxFile struct {
	name   string // as found
	tensor *tensor.Tensor
}

// joinIDX makes the datasets of the four files.
func joinIDX(files [4]idxFile) (train, test *Dataset, err error) {
	var (
		labels  [2]*tensor.Tensor
		classes int
		seen    heldClasses
	)
	for i := range labels {
		image, label := files[2*i], files[2*i+1]
		if err := checkPair(image, label); err != nil {
			return nil, nil, err
		}
		labels[i] = tensor.New(tensor.Int64, label.tensor.Len())
		for k, v := range label.tensor.Bytes() {
			labels[i].I64()[k] = int64(v)
			classes = max(classes, int(v)+1)
			seen.add(int64(v), i > 0, place{label.name, k + 1})
		}
	}
	if class, at, ok := seen.alone(); ok {
		return nil, nil, heldAlone(idxOp, strconv.FormatInt(class, 10), "%s: picture %d", at.file, at.at)
	}
	if a, b := files[0], files[2]; !a.tensor.Shape()[1:].Equal(b.tensor.Shape()[1:]) {
		return nil, nil, fault.New(idxOp, fault.Invalid, "%s has pictures of %v, and %s of %v",
			a.name, a.tensor.Shape()[1:], b.name, b.tensor.Shape()[1:]).Try("take all four files from the same set")
	}
	var sets [2]*Dataset
	for i := range sets {
		sets[i], err = NewDataset(
			Column{Name: "image", Tensor: files[2*i].tensor},
			Column{Name: "label", Tensor: labels[i], Classes: classes})
		if err != nil {
			return nil, nil, err
		}
	}
	return sets[0], sets[1], nil
}

func checkPair(image, label idxFile) error {
	if t := image.tensor; t.DType() != tensor.Uint8 || t.Rank() != 3 {
		return fault.New(idxOp, fault.Invalid, "%s holds %v, not uint8 pictures of three dimensions", image.name, t).
			Try("check that the files are not mixed up")
	}
	if t := image.tensor; t.Dim(0) == 0 {
		return fault.New(idxOp, fault.Invalid, "%s has no pictures", image.name).Try("take a set that has some")
	} else if t.Dim(1) == 0 || t.Dim(2) == 0 {
		return fault.New(idxOp, fault.Invalid, "%s has pictures of %v pixels", image.name, t.Shape()[1:]).Try("take a set whose pictures have pixels")
	}
	if t := label.tensor; t.DType() != tensor.Uint8 || t.Rank() != 1 {
		return fault.New(idxOp, fault.Invalid, "%s holds %v, not uint8 labels of one dimension", label.name, t).
			Try("check that the files are not mixed up")
	}
	if n, m := image.tensor.Dim(0), label.tensor.Dim(0); n != m {
		return fault.New(idxOp, fault.Invalid, "%s has %d pictures, but %s has %d labels", image.name, n, label.name, m).
			Try("take both files from the same set")
	}
	return nil
}

// readIDXFile reads the first of the places where a file may lie.
func readIDXFile(fsys fs.FS, name string) (idxFile, error) {
	for _, path := range []string{name, name + ".gz", "data/" + name, "data/" + name + ".gz"} {
		f, err := fsys.Open(path)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return idxFile{}, fault.From(err, idxOp)
		}
		defer f.Close()
		if info, err := f.Stat(); err == nil && info.IsDir() {
			return idxFile{}, fault.New(idxOp, fault.Invalid, "%s is a folder", path).Try("put the file of that name there")
		}
		t, err := ReadIDX(f, path, idxFileLimitBytes)
		return idxFile{path, t}, err
	}
	return idxFile{}, fault.New(idxOp, fault.NotFound, "there is no %s or %[1]s.gz, nor in a folder \"data\"", name).
		Try(fmt.Sprintf("put the four files of the set there: %v", idxNames))
}
