package kernel

import (
	"testing"
	"unsafe"
)

// TestRoomsAreApart: rooms have their length, and are a page or more from each other and from
// what lies before and after them.
func TestRoomsAreApart(t *testing.T) {
	const workers, page = 3, 4096
	for _, length := range []int{1, 16, 1000, 4096} {
		rooms := make([]float32, roomsLen[float32](workers, length))
		at := func(p *float32) uintptr { return uintptr(unsafe.Pointer(p)) }
		end := at(&rooms[0])
		for i := range workers {
			room := roomOf(rooms, i, length)
			if len(room) != length || at(&room[0]) < end+page {
				t.Fatalf("room %d of %d floats has %d, and begins %d bytes after what is before it", i, length, len(room), at(&room[0])-end)
			}
			end = at(&room[0]) + 4*uintptr(length)
		}
		if left := at(&rooms[0]) + 4*uintptr(len(rooms)) - end; left < page {
			t.Errorf("%d bytes come after the last room of %d floats", left, length)
		}
	}
	if n := roomsLen[byte](2, 0); n != 0 || roomOf([]byte(nil), 1, 0) != nil {
		t.Errorf("rooms of nothing take %d bytes", n)
	}
}
