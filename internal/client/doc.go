// Package client talks to a Tandem server: to the administrative API (/api/v1), to the
// Open Inference Protocol (/v2) with tensors in binary form, and to the protocol of
// OpenAI's chat (/v1).
//
// Errors are faults of the kind that the server meant, with its message and remedy, so
// that whoever calls need not know whether the work was done here or there.
//
//	client.go   Client: requests, answers, errors
//	admin.go    keys, usage, models, versions, deployments
//	artifact.go artifacts to the server and back
//	infer.go    inference
//	chat.go     conversations
package client
