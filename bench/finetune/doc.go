// Finetune shows what starting from a trained model is worth: MiniLM, as exported to
// ONNX, with a new head on SST-2, beside the same network from nothing and beside
// logistic regression on its frozen features.
//
//	make bench-finetune
package main
