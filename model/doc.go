// Package model holds artifacts: everything that turns an input into an answer, in
// one directory or one set of blobs, named by the digest of its manifest.
//
// The files follow an artifact from the trainer to the caller:
//
//	manifest.go     Manifest, Signature: the data
//	parse.go        strict parsing, canonical encoding, limits
//	write.go        Write: a graph and its processors become a directory
//	source.go       ReadDir, Source: where the files of a manifest are
//	verify.go       files are mapped and compared with their digests
//	intake.go       Intake: what has to be known to ask a model
//	stage.go        Stage, StageKind: what a manifest's stages become
//	open.go         Open, Model.Run
//	rewrite.go      Rewrite: the same artifact with another graph
//	export.go       Export: the graph as one ONNX file
//	safetensors.go  checkpoints
//
// Nothing in an artifact is used before its digest has been compared. An artifact
// never changes: a new version has a new digest.
package model
