package tokenizer

// trie maps texts to numbers and finds those that a text begins with. Its edges lie
// in one hash table: a vocabulary has a million of them.
type trie struct {
	keys   []uint64 // node<<8 | byte, plus 1; 0 is a free place
	nodes  []int32  // where the edge leads
	values []int32  // of nodes; -1 is none. Node 0 is the root.
}

func newTrie() *trie {
	return &trie{keys: make([]uint64, 1024), nodes: make([]int32, 1024), values: []int32{-1}}
}

// slot is where the edge lies, or the free place for it.
func (t *trie) slot(key uint64) int {
	mask := uint64(len(t.keys) - 1)
	i := hash(key) & mask
	for t.keys[i] != 0 && t.keys[i] != key {
		i = (i + 1) & mask
	}
	return int(i)
}

func hash(key uint64) uint64 {
	key *= 0x9E3779B97F4A7C15
	return key ^ key>>32
}

func (t *trie) add(text string, value int) {
	node := int32(0)
	for i := range len(text) {
		key := uint64(node)<<8 | uint64(text[i]) + 1
		at := t.slot(key)
		if t.keys[at] == 0 {
			if len(t.values)*3 > len(t.keys)*2 {
				t.grow()
				at = t.slot(key)
			}
			t.keys[at], t.nodes[at] = key, int32(len(t.values))
			t.values = append(t.values, -1)
		}
		node = t.nodes[at]
	}
	t.values[node] = int32(value)
}

func (t *trie) grow() {
	old := *t
	t.keys, t.nodes = make([]uint64, 2*len(old.keys)), make([]int32, 2*len(old.keys))
	for i, key := range old.keys {
		if key != 0 {
			at := t.slot(key)
			t.keys[at], t.nodes[at] = key, old.nodes[i]
		}
	}
}

// step follows the edge of c, and returns -1 if there is none.
func (t *trie) step(node int32, c byte) int32 {
	at := t.slot(uint64(node)<<8 | uint64(c) + 1)
	if t.keys[at] == 0 {
		return -1
	}
	return t.nodes[at]
}

// longest is the longest text of the trie that s begins with: its length and value,
// or 0 and -1.
func (t *trie) longest(s string) (n, value int) {
	value = -1
	node := int32(0)
	for i := range len(s) {
		if node = t.step(node, s[i]); node < 0 {
			break
		}
		if v := t.values[node]; v >= 0 {
			n, value = i+1, int(v)
		}
	}
	return n, value
}
