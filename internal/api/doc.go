// Package api is every route of the server on one screen: see routes.go. The protocols
// are in the folders below it, one each: oip for inference by the Open Inference
// Protocol, openai for chat and completions as OpenAI has them, admin for Tandem's own
// API. They do not know each other; what their errors have in common is reply.
//
// A handler gets the principal as an argument and returns its error; the gateway has
// let the request in by then, and writes the error in the form of the route's
// protocol. So there is one place that answers errors, and one that logs them.
//
// metrics.go is what GET /metrics shows. It wants a key that may read usage, and shows
// the series of that key's tenant and those of the process: labels name models, and no
// tenant may learn of another's.
package api
