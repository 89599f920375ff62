// Package rows reads files of rows — CSV, JSONL, Parquet — one row at a time, as
// they come, compressed or not, in bounded memory.
//
//	rows.go     Open, Row, Value: what all formats have in common
//	csv.go      text with separators
//	dialect.go  what separator a text has, and whether names head it
//	encoding.go GB18030 and other texts that aren't UTF-8
//	json.go     an object a line
//	parquet.go  Parquet, by parquet-go; parquet_check.go, what it must not be given
//
// What the values mean is decided elsewhere: a reader tells of each no more than
// its file does. Whatever is wrong with a row is said with file, line and column.
package rows
