// Command text turns texts into vectors, from characters on, for bench/text_speed.py: it
// cuts them by a tokenizer.json, runs an ONNX model on batches as long as their longest
// text, and tells how long that took.
package main
