// Package openai speaks the protocol of OpenAI's chat and completions, as its clients
// really use it.
//
// The way of a request, in the order of the files:
//
//	service.go   the routes
//	fields.go    every parameter of the protocol: honoured, accepted or refused
//	request.go   the body becomes values
//	prompt.go    … and the values a llm.Request
//	generate.go  one or several answers, by tokens
//	chat.go      /v1/chat/completions: the forms of its answers
//	complete.go  /v1/completions: the forms of its answers
//	stream.go    server-sent events
//	error.go     faults in the protocol's form
package openai
