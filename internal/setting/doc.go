// Package setting fills structs from YAML and from flags, strictly, and says where
// every value comes from.
//
//	parse.go     text to a tree of nodes, each with its source
//	field.go     the settings of a struct
//	decode.go    a tree into a struct; unknown keys are errors
//	check.go     limits, from the fields' tags
//	list.go      every setting of a struct with its value, source and meaning
//	encode.go    a struct, or a list of settings, as YAML
//
// A setting is a field of a struct, named by its yaml tag, or by its Go name in
// lower case with underscores. Tags say the rest:
//
//	help:"…"      what it means; a key of the message catalogue
//	limit:"[1,9)" the numbers that it takes: from 1 to below 9; an open side is empty
//	one:"a b"     the texts that it takes
//
// What a scalar means depends on the field that takes it, never on how YAML would
// guess: NO is a text where a text is wanted.
package setting
