package onnx

import (
	"fmt"

	"tandem/graph"
	"tandem/tensor"
)

// info is a ValueInfoProto.
type info struct {
	name     string
	typ      graph.Type
	kind     typeKind
	hasShape bool // otherwise the rank is unknown
	list     *graph.ListType
}

// typeKind is the field of a TypeProto that is there: what kind of value it is.
type typeKind uint8

func (k typeKind) isTensor() bool { return k == typeTensor }

// dtype is the kind as a type of tensors that hold tensors.
func (k typeKind) dtype() tensor.DType {
	switch k {
	case typeSequence:
		return tensor.Sequence
	case typeOptional:
		return tensor.Optional
	case typeMap:
		return tensor.Map
	}
	return tensor.Undefined
}

func (r *reader) info(msg []byte) (info, error) {
	var v info
	for f, err := range fields(msg) {
		if err != nil {
			return v, err
		}
		switch f.num {
		case infoName:
			v.name, err = f.text()
		case infoType:
			err = r.typeOf(f, &v, 0)
		}
		if err != nil {
			return v, within(err, "value %.200q", v.name)
		}
	}
	return v, nil
}

// typeOf reads a TypeProto. Kinds that are not known are left for the caller to refuse.
func (r *reader) typeOf(f field, v *info, depth int) error {
	if depth > maxDepth {
		return unsupported("lists are nested more than %d deep", maxDepth)
	}
	msg, err := f.message()
	if err != nil {
		return err
	}
	for f, err := range fields(msg) {
		if err != nil {
			return err
		}
		switch f.num {
		case typeTensor:
			v.kind = typeTensor
			if err := r.tensorType(f, v); err != nil {
				return err
			}
		case typeSequence, typeOptional, typeMap, typeSparse, typeOpaque:
			v.kind = typeKind(f.num)
			v.typ = graph.Type{DType: v.kind.dtype()}
			if v.typ.Known() {
				v.list, err = r.listType(f, v.typ.DType, v.name, depth)
			}
			if err != nil {
				return err
			}
		}
	}
	return nil
}

// listType reads what the elements of a list are.
func (r *reader) listType(f field, kind tensor.DType, name string, depth int) (*graph.ListType, error) {
	msg, err := f.message()
	if err != nil {
		return nil, err
	}
	list := &graph.ListType{Kind: kind}
	elem := info{name: name}
	for f, err := range fields(msg) {
		switch {
		case err != nil:
		case kind == tensor.Map && f.num == typeMapKey:
			var n int64
			if n, err = f.int(); err == nil {
				list.Key, err = dtype(n)
			}
		case kind == tensor.Map && f.num == typeMapValue, kind != tensor.Map && f.num == typeListElem:
			err = r.typeOf(f, &elem, depth+1)
		}
		if err != nil {
			return nil, err
		}
	}
	if list.List = elem.list; list.List == nil {
		list.Elem = elem.typ
	}
	return list, nil
}

func (r *reader) tensorType(f field, v *info) error {
	msg, err := f.message()
	if err != nil {
		return err
	}
	for f, err := range fields(msg) {
		if err != nil {
			return err
		}
		switch f.num {
		case typeTensorElem:
			var n int64
			if n, err = f.int(); err == nil {
				v.typ.DType, err = dtype(n)
			}
		case typeTensorShape:
			v.hasShape = true
			v.typ.Shape, err = r.shape(f, v.name)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// dtype checks an element type. Undefined is admitted here: the type of inner
// values may be left open.
func dtype(n int64) (tensor.DType, error) {
	if n < 0 || n > 255 || n != 0 && !tensor.DType(n).Valid() {
		return tensor.Undefined, unsupported("element type %d is not known", n).Try("use a newer version of Tandem, or convert the tensors to float32")
	}
	return tensor.DType(n), nil
}

// shape reads a TensorShapeProto.
func (r *reader) shape(f field, value string) (graph.Shape, error) {
	msg, err := f.message()
	if err != nil {
		return nil, err
	}
	shape := graph.Shape{}
	for f, err := range fields(msg) {
		if err != nil {
			return nil, err
		}
		if f.num != shapeDim {
			continue
		}
		if len(shape) == maxRank {
			return nil, unsupported("it has more than %d dimensions", maxRank)
		}
		d, err := r.dim(f, value, len(shape))
		if err != nil {
			return nil, err
		}
		shape = append(shape, d)
	}
	return shape, nil
}

// dim reads one dimension. Exporters write one that is not known as an absent
// value, an empty name or -1: each becomes a symbol of its own.
func (r *reader) dim(f field, value string, i int) (graph.Dim, error) {
	msg, err := f.message()
	if err != nil {
		return graph.Dim{}, err
	}
	n, name := int64(-1), ""
	for f, err := range fields(msg) {
		if err != nil {
			return graph.Dim{}, err
		}
		switch f.num {
		case dimValue:
			n, err = f.int()
		case dimParam:
			name, err = f.text()
		}
		if err != nil {
			return graph.Dim{}, err
		}
	}
	switch {
	case name != "":
		return graph.Sym(r.symbol(name)), nil
	case n < -1 || n > maxDim:
		return graph.Dim{}, invalid("dimension %d is %d", i, n).Try(remedyExport)
	case n >= 0:
		return graph.Const(int(n)), nil
	}
	return graph.Sym(r.unique(fmt.Sprintf("%.40s.%d", value, i))), nil
}

// symbol is the symbol for a name of the file.
func (r *reader) symbol(name string) string {
	s, ok := r.symbols[name]
	if !ok {
		s = r.unique(name)
		r.symbols[name] = s
	}
	return s
}

// unique makes a name for a symbol that no other has.
func (r *reader) unique(name string) string {
	free := name
	for n := 2; r.taken[free]; n++ {
		free = fmt.Sprintf("%s_%d", name, n)
	}
	r.taken[free] = true
	return free
}
