package kernel

import "unsafe"

// The scratch of workers is cut into rooms, which no page has in common: a processor that
// reads memory in order fetches lines ahead, up to the end of a page. Where these are
// another worker's, which writes to them, each waits for the other to give them back. With
// two threads whose cores have no cache in common, 16 rows in Linear took an eighth longer.

// roomGap are the bytes before each room, and after the last.
const roomGap = 4 << 10

// roomsLen is how many elements the rooms of so many workers take, of length elements each.
func roomsLen[T any](workers, length int) int {
	if length == 0 {
		return 0
	}
	return workers*(length+gapLen[T]()) + gapLen[T]()
}

// roomOf is the room of a worker.
func roomOf[T any](rooms []T, worker, length int) []T {
	if length == 0 {
		return nil
	}
	return rooms[worker*(length+gapLen[T]())+gapLen[T]():][:length]
}

func gapLen[T any]() int { return roomGap / int(unsafe.Sizeof(*new(T))) }
