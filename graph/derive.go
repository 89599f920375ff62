package graph

// derivedOf names something that is derived from a node: kind is a nil pointer to its type.
type derivedOf struct {
	node *Node
	kind any
}

// Derive gives what read makes of the attributes of a node, and keeps it with the
// program. Where shapes depend on data a kernel is prepared anew for every run: what
// takes long and does not depend on shapes is derived. It is shared by all runs, which
// must not change it.
func Derive[T any](c *Call, read func(Attrs) (T, error)) (T, error) {
	key := derivedOf{c.Node, (*T)(nil)}
	all := &c.frame.p.derived
	if v, ok := all.Load(key); ok {
		return v.(T), nil
	}
	v, err := read(c.Node.Attrs)
	if err == nil {
		all.Store(key, v)
	}
	return v, err
}
