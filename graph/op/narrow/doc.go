// Package narrow lets kernels that compute in one type serve the floats that none
// computes in: float16, bfloat16, and those of 8 and 4 bits. Widened does that for a
// kernel on float32; Through for any type; Pair is for kernels that widen by a rule of
// their own.
package narrow
