package setting

import "reflect"

// Setting is one value of a struct.
type Setting struct {
	Key    string // train.optimizer.name
	Value  any
	Source Source
	Help   string // in English; a key of the message catalogue
	Limit  string // an interval, such as [0,1), or ""
	One    string // the texts that it takes, or ""

	value reflect.Value
	last  string // of Key
	depth int
	lead  bool // a mapping whose settings follow
}

// Composite is a type that stands for another value where settings are listed.
type Composite interface {
	Settings() any // a struct, or nil
}

// List is every setting of a struct, in its order. given, which may be nil, says
// where values come from.
func List(v any, given *Node) []Setting {
	var all []Setting
	for _, s := range walk(nil, "", 0, reflect.ValueOf(v), given) {
		if !s.lead {
			all = append(all, s)
		}
	}
	return all
}

func walk(all []Setting, path string, depth int, v reflect.Value, given *Node) []Setting {
	for v.Kind() == reflect.Pointer || v.Kind() == reflect.Interface {
		v = v.Elem()
	}
	for _, f := range fieldsOf(v.Type()) {
		x, kid := v.FieldByIndex(f.index), (*Node)(nil)
		if given != nil {
			kid = given.own(f.name)
		}
		s := Setting{
			Key: join(path, f.name), value: x, last: f.name, depth: depth,
			Help: f.tag.Get("help"), Limit: f.tag.Get("limit"), One: f.tag.Get("one"),
		}
		if kid != nil {
			s.Source = kid.Source
		}
		if c, ok := x.Interface().(Composite); ok {
			inner := c.Settings()
			if inner == nil {
				continue
			}
			x = reflect.ValueOf(inner)
			for x.Kind() == reflect.Pointer {
				x = x.Elem()
			}
		}
		if _, own := x.Interface().(Encodable); x.Kind() == reflect.Struct && !own {
			s.lead = true
			all = walk(append(all, s), s.Key, depth+1, x, kid)
			continue
		}
		s.Value = x.Interface()
		all = append(all, s)
	}
	return all
}

// own is the value of a key without dots.
func (n *Node) own(key string) *Node {
	for i, k := range n.keys {
		if k == key {
			return n.kids[i]
		}
	}
	return nil
}
