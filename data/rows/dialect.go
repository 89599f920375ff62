package rows

import (
	"bytes"
	"strconv"
)

// separators are the candidates, the likelier first.
const separators = ",\t;|"

// sniffRows is how many rows a dialect is told from.
const sniffRows = 50

// guessSeparator finds the separator that parts the most rows of the text's
// beginning into the same number of fields, more than one; of two, that of more
// fields. Without any the rows have one field.
func guessSeparator(head []byte, quotes bool) byte {
	best, bestScore := byte(','), 0
	for _, sep := range []byte(separators) {
		counts := fieldCounts(head, sep, quotes)
		if len(counts) == 0 || counts[0] < 2 {
			continue
		}
		same := 0
		for _, n := range counts {
			if n == counts[0] {
				same++
			}
		}
		if score := same*maxColumns/len(counts)*16 + min(counts[0], 15); score > bestScore {
			best, bestScore = sep, score
		}
	}
	return best
}

// fieldCounts are the numbers of fields of the first whole rows.
func fieldCounts(head []byte, sep byte, quotes bool) (counts []int) {
	c := &csvScanner{in: bytes.NewReader(nil), buf: head, end: len(head), sep: sep, quotes: quotes, eof: true}
	for len(counts) < sniffRows {
		if !c.row() {
			break
		}
		counts = append(counts, len(c.fields))
	}
	if len(counts) > 1 && len(head) >= csvBufferBytes {
		counts = counts[:len(counts)-1] // cut by the end of what was looked at
	}
	return counts
}

// looksLikeHeader reports whether a row names columns: all of its fields are there,
// and none is a number or begins with a digit, as dates do. The first of several may be
// empty: pandas writes its index so, which is to be refused and not taken for a value.
func looksLikeHeader(fields [][]byte) bool {
	if len(fields) > 1 && len(fields[0]) == 0 {
		fields = fields[1:]
	}
	for _, f := range fields {
		if len(f) == 0 || len(f) > 100 || f[0] >= '0' && f[0] <= '9' || f[0] == '-' {
			return false
		}
		if _, err := strconv.ParseFloat(string(f), 64); err == nil {
			return false
		}
	}
	return true
}
