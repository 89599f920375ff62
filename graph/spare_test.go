package graph

import "testing"

// TestSparesAreBounded: by number, and by bytes.
func TestSparesAreBounded(t *testing.T) {
	for _, tc := range []struct{ most, kept int }{{1 << 30, maxSpares}, {5 << 20, 5}, {1 << 19, 0}} {
		s := spares{mostBytes: tc.most}
		for range 20 {
			m, err := allocate(1 << 20)
			if err != nil {
				t.Fatal(err)
			}
			s.give(m)
		}
		if len(s.list) != tc.kept || s.bytes != tc.kept<<20 {
			t.Errorf("of at most %d bytes %d arenas of %d bytes are kept, expected %d", tc.most, len(s.list), s.bytes, tc.kept)
		}
		if m, err := s.take(1 << 20); err != nil || s.bytes != max(tc.kept-1, 0)<<20 {
			t.Errorf("%v, %d bytes are left", err, s.bytes)
		} else {
			m.free()
		}
		s.close()
	}
}
