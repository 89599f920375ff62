package mnist

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"tandem/data"
	"tandem/fault"
)

const op = "mnist.open"

// Options say where to look for the set. The zero value is right for programs.
type Options struct {
	CacheDir    string // "" means tandem in the user's cache folder
	ModuleCache string // "" means that of the go command
	Proxy       string // a list as in GOPROXY; "" means that of the go command

	// Progress, if given, hears of a download: the bytes so far and in all, or -1
	// if that's not known. It's called from the goroutine of Open.
	Progress func(bytes, total int64)

	stall time.Duration // how long a proxy may send nothing; 0 means stallLimit
}

// files are the set's four files with the sha256 of each.
var files = [...]struct{ name, sum string }{
	{"train-images-idx3-ubyte.gz", "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609"},
	{"train-labels-idx1-ubyte.gz", "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c"},
	{"t10k-images-idx3-ubyte.gz", "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6"},
	{"t10k-labels-idx1-ubyte.gz", "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6"},
}

// Open reads the set as data.OpenIDX does. The source says in words where it was
// found.
func Open(ctx context.Context, opt Options) (train, test *data.Dataset, source string, err error) {
	fsys, source, err := find(ctx, opt)
	if err != nil {
		return nil, nil, "", err
	}
	train, test, err = data.OpenIDX(fsys)
	if err != nil {
		return nil, nil, "", err
	}
	return train, test, source, nil
}

// Folder gives the set's four files, verified, for programs that read them themselves.
func Folder(ctx context.Context, opt Options) (fs.FS, error) {
	fsys, _, err := find(ctx, opt)
	return fsys, err
}

// find returns a file system with the verified files at its top.
func find(ctx context.Context, opt Options) (fsys fs.FS, source string, err error) {
	if fsys, ok := embedded(); ok {
		return fsys, "this program", Verify(fsys)
	}
	return findZip(ctx, opt)
}

// findZip finds the module's zip. A file that's absent or isn't what it should be
// is passed over: the next place may have a good one.
func findZip(ctx context.Context, opt Options) (fsys fs.FS, source string, err error) {
	env := readGoEnv(ctx, opt)
	if env.moduleCache != "" {
		path := moduleZip(env.moduleCache)
		if fsys, err := OpenZip(path); err == nil {
			return fsys, path, nil
		}
	}
	cached := cachePath(opt)
	if cached != "" {
		if fsys, err := OpenZip(cached); err == nil {
			return fsys, cached, nil
		}
	}
	zip, from, err := download(ctx, env, opt)
	if err != nil {
		return nil, "", err
	}
	fsys, err = readZip(zip, from)
	if err != nil {
		return nil, "", err
	}
	// A folder that can't be written to costs a download the next time, and is no
	// reason to refuse the set: the caller hears of it in the source.
	if cached == "" {
		return fsys, from + " (not kept: there is no cache folder)", nil
	}
	if err := keep(cached, zip); err != nil {
		return fsys, from + " (not kept: " + err.Error() + ")", nil
	}
	return fsys, from, nil
}

// Files are the names of the four files.
func Files() []string {
	names := make([]string, len(files))
	for i, f := range files {
		names[i] = f.name
	}
	return names
}

// Verify checks the sums of the four files at the top of fsys.
func Verify(fsys fs.FS) error {
	for _, f := range files {
		b, err := fs.ReadFile(fsys, f.name)
		if err != nil {
			return fault.Wrap(err, op, fault.Corrupt, "the MNIST set").Try("build the program again: make build")
		}
		if sum := sha256.Sum256(b); hex.EncodeToString(sum[:]) != f.sum {
			return fault.New(op, fault.Corrupt, "%s of the MNIST set has the sha256 %x, not %s", f.name, sum, f.sum).
				Try("remove it, and build or fetch again")
		}
	}
	return nil
}

// cachePath is where a downloaded zip is kept, or "" if there's no place for it.
func cachePath(opt Options) string {
	dir := opt.CacheDir
	if dir == "" {
		user, err := os.UserCacheDir()
		if err != nil {
			return ""
		}
		dir = filepath.Join(user, "tandem")
	}
	return filepath.Join(dir, "mnist-"+Version+".zip")
}

// keep writes a file that's either whole or absent, whenever the program dies.
func keep(path string, b []byte) error {
	dir := filepath.Dir(path)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	f, err := os.CreateTemp(dir, ".mnist-*.tmp")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name()) // fails once it's renamed
	_, err = f.Write(b)
	if err == nil {
		err = f.Sync()
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	return err
}
