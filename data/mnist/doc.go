// Package mnist brings the MNIST set of handwritten digits: 60,000 pictures to
// train on and 10,000 to test with, of 28 by 28 gray pixels.
//
// The set isn't kept in this repository. It comes from a Go module that carries
// the original files, because a machine that builds Go programs can reach a module
// proxy where it may reach nothing else. It's looked for in
//
//  1. the program itself, if built with -tags embed_mnist after the generator in
//     fetch has put the files into embedded (make build does both);
//  2. Go's module cache;
//  3. Tandem's cache;
//  4. the module proxies that GOPROXY names, and then kept in Tandem's cache.
//
// Wherever it comes from, nothing is used before the four files have their pinned
// sums; the module's zip also has the hash that go.sum would hold.
package mnist
