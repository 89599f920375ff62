// Package language trains networks that say what follows the tokens of a text: the bytes
// of a text itself, or the numbers of a token file.
package language
