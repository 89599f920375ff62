// Package message says things in the language of the person who reads them.
//
// The English format string is the key: code reads as it prints, and what has no
// translation is said in English. The catalogue is golang.org/x/text's; arguments are
// put in by package fmt, so that numbers of ports and versions stay as they are. Count
// is for numbers of things, which people group by thousands.
//
//	printer.go   Printer: which language, formats, errors
//	pattern.go   texts that were put together elsewhere, in English: by a server, by a library
//	table.go     columns of text, where a Chinese character takes two
//	zh_*.go      the catalogue: help, command line, errors
package message
