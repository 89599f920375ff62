// Command asm writes the assembly of package kernel, with Go stubs, by avo:
//
//	go run tandem/kernel/asm -out kernel
//
// One file of this package describes one family of kernels, for both tiers.
// The output (zz_*_amd64.s and zz_*_amd64.go) is committed; a test in package
// kernel regenerates it and compares.
package main

import (
	"flag"
	"log"
)

// families is the table of output files.
var families = []struct {
	name  string
	write func(*writer)
}{
	{"tile", writeTiles},
	{"halftile", writeHalfTiles},
	{"bytetile", writeByteTiles},
	{"dottile", writeDotTile},
	{"amx", writeAMX},
	{"bytes", writeBytes},
	{"bfloat16", writeBFloat16},
	{"panel", writePanels},
	{"slab", writeSlabs},
	{"quantize", writeQuantize},
	{"gate", writeGates},
	{"patches", writePatches},
	{"cell", writeCells},
	{"gradient", writeGradients},
	{"codes", writeCodes},
	{"transpose", writeTranspose},
	{"vector", writeVectors},
	{"rows", writeRows},
	{"optimize", writeOptimizers},
	{"dropout", writeDropout},
	{"maxpool", writeMaxPool},
	{"slide", writeSlides},
	{"colours", writeColours},
	{"winograd", writeWinograd},
	{"pause", writePause},
	{"vendor", writeVendor},
}

func main() {
	log.SetFlags(0)
	out := flag.String("out", ".", "folder to write to")
	flag.Parse()
	for _, f := range families {
		if err := generate(f.name, f.write, *out); err != nil {
			log.Fatalf("asm: %s: %v", f.name, err)
		}
	}
}
