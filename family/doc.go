// Package family holds the one list of the kinds of models that Tandem trains. A
// family turns a spec into a training problem; a new one is a folder and a line.
package family
