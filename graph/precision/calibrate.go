package precision

// Range are the least and the greatest number that a value has been seen to have.
type Range struct{ Lo, Hi float32 }

// Ranges are ranges by the names of values.
type Ranges map[string]Range
