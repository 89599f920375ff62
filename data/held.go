package data

import "tandem/fault"

// heldClasses sees to it that each class has examples to train with. A network cannot learn
// a class that it never sees, and what is measured on one says nothing: where the user says
// which examples are to test with it is refused, and a split by chance leaves the first
// example of each class to train with.
type heldClasses struct {
	trained map[int64]bool
	first   map[int64]place // of the held examples of each class
	order   []int64         // the classes in the order in which first has them
}

// place is where an example is: the file, and the line or the number in it.
type place struct {
	file string
	at   int
}

// unseen reports whether no example of a class is to train with so far.
func (h *heldClasses) unseen(class int64) bool { return class >= 0 && !h.trained[class] }

// add takes an example into account; a class below 0 is none.
func (h *heldClasses) add(class int64, held bool, at place) {
	if h.trained == nil {
		h.trained, h.first = map[int64]bool{}, map[int64]place{}
	}
	switch _, known := h.first[class]; {
	case class < 0:
	case !held:
		h.trained[class] = true
	case !known:
		h.first[class] = at
		h.order = append(h.order, class)
	}
}

// alone is the first class that only held examples have, and where one of these is.
func (h *heldClasses) alone() (class int64, at place, ok bool) {
	for _, class := range h.order {
		if !h.trained[class] {
			return class, h.first[class], true
		}
	}
	return 0, place{}, false
}

// heldAlone is the error about such a class; format and args say where the example is.
func heldAlone(op, class, format string, args ...any) error {
	cause := fault.New("", fault.Invalid, "no example to train with is of the class %q", class)
	return fault.Wrap(cause, op, fault.Invalid, format, args...).
		Try("give examples of it to train with, or take it out of what is tested with")
}
