// Package admin is the API of Tandem itself: keys, models and their versions, the
// bytes that versions are made of, deployments, and usage.
//
// Requests and answers are JSON with names in snake_case and units in the names. What
// a request says and this package does not know is refused by name, never ignored:
// see decode.go. Errors are {"error":{"kind","message","remedy"}}, and kind is the
// closed list of package fault.
//
// Creating is safe to repeat: bytes are stored under their digest, a manifest that the
// model has already gives the version that is there, and deploying what is deployed
// changes nothing.
package admin
