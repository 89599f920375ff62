// Package packed keeps weights as the kernels read them from one start of a model to
// the next.
//
// A Store is a file in a folder of caches. It belongs to one model in one state, one tier
// of instructions and one build of the program, all of which stand in its head. It is
// mapped: what is found there is used where it lies, or copied where the model wants it
// elsewhere. What is missing or damaged is packed anew, and then the file is written
// again in the background; Close waits for it. The folder has a limit; the oldest files
// make room.
package packed
