// Package reply says what the protocols have in common when they answer with an
// error: the HTTP status of each kind, the text that may leave the server, and when
// to try again. How the text is wrapped is each protocol's own.
package reply
