package llm

import "testing"

// TestDescribe: a model in three files is described as it is in one.
func TestDescribe(t *testing.T) {
	for _, path := range []string{storiesFile(t), inParts(t, 3)[2]} {
		d, err := Describe(path)
		if err != nil {
			t.Fatal(err)
		}
		if d.Config.Arch != "llama" || d.Chats || d.Parameters != 260_032 || d.WeightBytes != 1_040_128 || len(d.Encodings) != 1 || d.Encodings[0] != (Encoded{"f32", 47, 1_040_128}) {
			t.Errorf("%+v", d)
		}
	}
}

// TestProgress: opening tells how many bytes of the weights are ready, and never more
// than all.
func TestProgress(t *testing.T) {
	last, all := int64(-1), int64(0)
	m, err := Open(storiesFile(t), Options{Progress: func(done, of int64) {
		if done < last || done > of || all != 0 && of != all {
			t.Errorf("%d of %d after %d of %d", done, of, last, all)
		}
		last, all = done, of
	}})
	if err != nil {
		t.Fatal(err)
	}
	if err := m.Close(); err != nil {
		t.Error(err)
	}
	if all != 1_040_128 || last < all/2 {
		t.Errorf("%d of %d", last, all)
	}
}
