package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"log"
	"os"
	"time"

	"tandem"
	"tandem/data/npz"
	"tandem/tensor"
)

// seconds is the line printed for an input: the first run of it, which plans where
// the shapes are new, and the same again.
type seconds struct {
	Input string  `json:"input"`
	First float64 `json:"first_s"`
	Again float64 `json:"again_s"`
}

func main() {
	log.SetFlags(0)
	threads := flag.Int("threads", 2, "threads that compute")
	again := flag.Bool("again", false, "run each input a second time, for its time alone")
	flag.Usage = func() {
		fmt.Fprintln(os.Stderr, "outputs [--threads N] [--again] MODEL IN.npz OUT.npz [IN.npz OUT.npz …]")
		flag.PrintDefaults()
	}
	flag.Parse()
	if flag.NArg() < 3 || flag.NArg()%2 == 0 {
		flag.Usage()
		os.Exit(2)
	}
	if err := run(flag.Arg(0), flag.Args()[1:], *threads, *again); err != nil {
		log.Fatal(err)
	}
}

func run(path string, files []string, threads int, again bool) (err error) {
	m, err := tandem.Open(path, tandem.Options{Threads: threads})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, m.Close()) }()
	lines := json.NewEncoder(os.Stdout)
	for i := 0; i < len(files); i += 2 {
		in, err := read(files[i])
		if err != nil {
			return err
		}
		begin := time.Now()
		out, err := m.Run(context.Background(), in)
		if err != nil {
			return fmt.Errorf("%s: %w", files[i], err)
		}
		line := seconds{Input: files[i], First: time.Since(begin).Seconds()}
		if again {
			begin = time.Now()
			if _, err := m.Run(context.Background(), in); err != nil {
				return err
			}
			line.Again = time.Since(begin).Seconds()
		}
		if err := write(files[i+1], m, out); err != nil {
			return err
		}
		if err := lines.Encode(line); err != nil {
			return err
		}
	}
	return nil
}

func read(path string) (_ map[string]*tensor.Tensor, err error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	arrays, err := npz.Read(f, info.Size(), path, npz.DefaultLimits())
	if err != nil {
		return nil, err
	}
	in := map[string]*tensor.Tensor{}
	for _, a := range arrays {
		in[a.Name] = a.Tensor
	}
	return in, nil
}

func write(path string, m *tandem.Model, out map[string]*tensor.Tensor) error {
	var arrays []npz.Array
	for _, p := range m.Outputs() {
		arrays = append(arrays, npz.Array{Name: p.Name, Tensor: out[p.Name]})
	}
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	return errors.Join(npz.Write(f, arrays), f.Close())
}
