package onnx

import (
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"tandem/tensor"
)

// TestFilesOverTwoGigabytes reads weights beyond 2 GiB from a file with holes: they are
// mapped where they lie, and cost no memory of the heap.
func TestFilesOverTwoGigabytes(t *testing.T) {
	if testing.Short() {
		t.Skip("maps 2.5 GiB")
	}
	const rows, cols = 640 << 10, 1 << 10 // float32: 2.5 GiB
	dir := t.TempDir()
	weights, err := os.Create(filepath.Join(dir, "w.bin"))
	must(t, err)
	must(t, weights.Truncate(4*rows*cols))
	_, err = weights.WriteAt(tensor.Of([]float32{42}, 1).Bytes(), 4*rows*cols-4)
	must(t, err)
	must(t, weights.Close())
	init := sub(graphInitializer, str(tensorName, "w"), num(tensorDims, rows), num(tensorDims, cols), num(tensorType, 1), num(tensorLocation, 1),
		sub(tensorExternal, str(entryKey, "location"), str(entryValue, "w.bin")))
	path := filepath.Join(dir, "m.onnx")
	must(t, os.WriteFile(path, model(init, node("Identity", "y", "w"), sub(graphOutput, str(infoName, "y"), sub(infoType, sub(typeTensor, num(typeTensorElem, 1))))), 0o644))
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	g, closer, err := Load(path, LoadOptions{})
	must(t, err)
	runtime.ReadMemStats(&after)
	if used := after.TotalAlloc - before.TotalAlloc; used > 1<<20 {
		t.Errorf("reading took %d bytes of the heap", used)
	}
	w, err := g.Nodes[0].Inputs[0].Const.Tensor()
	must(t, err)
	if n := len(w.F32()); n != rows*cols || w.F32()[n-1] != 42 || w.F32()[n-2] != 0 {
		t.Errorf("%d elements, the last is %v", n, w.F32()[n-1])
	}
	// It cannot be written as one file, and can with the weights beside it.
	if err := Save(filepath.Join(dir, "one.onnx"), g, SaveOptions{}); err == nil {
		t.Error("2.5 GiB were written into one message")
	}
	must(t, closer.Close())
}
