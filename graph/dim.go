package graph

import (
	"fmt"
	"slices"
	"sort"
	"strconv"
	"strings"

	"tandem/tensor"
)

// Dim is a dimension: an integer polynomial over symbols and over quotients,
// maxima and minima of other Dims. It is immutable. Polynomials are kept in a
// normal form, so that equal expressions are found equal: (64*b*12)/(64*12) is b.
type Dim struct {
	terms []term // sorted by key, none with coefficient 0
}

type term struct {
	coef  int
	atoms []atom // a product, sorted by key
}

// atom is a symbol, or op applied to two Dims.
type atom struct {
	key string
	op  byte // 's' symbol, '/' floor of the quotient, 'M' maximum, 'm' minimum
	a,
	b Dim
}

func (t term) key() string {
	keys := make([]string, len(t.atoms))
	for i, a := range t.atoms {
		keys[i] = a.key
	}
	return strings.Join(keys, "*")
}

// Const is the dimension n.
func Const(n int) Dim {
	if n == 0 {
		return Dim{}
	}
	return Dim{[]term{{coef: n}}}
}

// Sym is the dimension that a binding gives for name.
func Sym(name string) Dim { return ofAtom(atom{key: name, op: 's'}) }

func ofAtom(a atom) Dim { return Dim{[]term{{1, []atom{a}}}} }

// Value is the number, if d is one.
func (d Dim) Value() (int, bool) {
	switch {
	case len(d.terms) == 0:
		return 0, true
	case len(d.terms) == 1 && len(d.terms[0].atoms) == 0:
		return d.terms[0].coef, true
	}
	return 0, false
}

// Is reports whether d is the number n.
func (d Dim) Is(n int) bool { v, ok := d.Value(); return ok && v == n }

// Natural reports whether d certainly is not negative, as symbols are not.
func (d Dim) Natural() bool {
	for _, t := range d.terms {
		if t.coef < 0 {
			return false
		}
		for _, a := range t.atoms {
			if a.op != 's' && !(a.a.Natural() && a.b.Natural()) {
				return false
			}
		}
	}
	return true
}

// Equal reports whether d and e are the same for every binding, as far as the
// normal form tells.
func (d Dim) Equal(e Dim) bool {
	if m, n, ok := numbers(d, e); ok {
		return m == n
	}
	return d.String() == e.String()
}

// numbers are the values of two dimensions that have them: the common case while
// a graph is prepared for known shapes.
func numbers(d, e Dim) (m, n int, ok bool) {
	m, ok1 := d.Value()
	n, ok2 := e.Value()
	return m, n, ok1 && ok2
}

// Add is d + e.
func (d Dim) Add(e Dim) Dim {
	if m, n, ok := numbers(d, e); ok {
		return Const(m + n)
	}
	sum := map[string]term{}
	for _, t := range slices.Concat(d.terms, e.terms) {
		k := t.key()
		sum[k] = term{sum[k].coef + t.coef, t.atoms}
	}
	return normal(sum)
}

// Sub is d - e.
func (d Dim) Sub(e Dim) Dim { return d.Add(e.Mul(Const(-1))) }

// Mul is d·e.
func (d Dim) Mul(e Dim) Dim {
	if m, n, ok := numbers(d, e); ok {
		return Const(m * n)
	}
	sum := map[string]term{}
	for _, a := range d.terms {
		for _, b := range e.terms {
			atoms := slices.Concat(a.atoms, b.atoms)
			sort.SliceStable(atoms, func(i, j int) bool { return atoms[i].key < atoms[j].key })
			t := term{a.coef * b.coef, atoms}
			k := t.key()
			sum[k] = term{sum[k].coef + t.coef, atoms}
		}
	}
	return normal(sum)
}

func normal(sum map[string]term) Dim {
	keys := make([]string, 0, len(sum))
	for k, t := range sum {
		if t.coef != 0 {
			keys = append(keys, k)
		}
	}
	slices.Sort(keys)
	terms := make([]term, len(keys))
	for i, k := range keys {
		terms[i] = sum[k]
	}
	return Dim{terms}
}

// Div is the floor of d/e. Division by the number 0 is the caller's defect.
func (d Dim) Div(e Dim) Dim {
	if m, n, ok := numbers(d, e); ok {
		return Const(floorDiv(m, n))
	}
	if q, ok := exactDiv(d, e); ok {
		return q
	}
	return ofBinary('/', d, e)
}

// exactDiv divides every term of d by e, where e is a single term that divides it.
func exactDiv(d, e Dim) (Dim, bool) {
	if len(e.terms) != 1 {
		if d.Equal(e) && len(d.terms) > 0 {
			return Const(1), true
		}
		return Dim{}, false
	}
	by := e.terms[0]
	sum := map[string]term{}
	for _, t := range d.terms {
		if t.coef%by.coef != 0 {
			return Dim{}, false
		}
		rest := slices.Clone(t.atoms)
		for _, a := range by.atoms {
			i := slices.IndexFunc(rest, func(r atom) bool { return r.key == a.key })
			if i < 0 {
				return Dim{}, false
			}
			rest = slices.Delete(rest, i, i+1)
		}
		q := term{t.coef / by.coef, rest}
		sum[q.key()] = q
	}
	return normal(sum), true
}

// CeilDiv is the ceiling of d/e.
func (d Dim) CeilDiv(e Dim) Dim {
	minus := Const(-1)
	return d.Mul(minus).Div(e).Mul(minus)
}

// Max is the greater of d and e, written out where it depends on symbols which that is.
func (d Dim) Max(e Dim) Dim {
	switch {
	case d.atLeast(e):
		return d
	case e.atLeast(d):
		return e
	}
	return extreme('M', d, e, func(m, n int) int { return max(m, n) })
}

// Min is the lesser of d and e, as Max is the greater.
func (d Dim) Min(e Dim) Dim {
	switch {
	case d.atLeast(e):
		return e
	case e.atLeast(d):
		return d
	}
	return extreme('m', d, e, func(m, n int) int { return min(m, n) })
}

// atLeast reports whether d is seen to be e or greater: max(a,b) is where one of the
// two is, and min(a,b) is at most either.
func (d Dim) atLeast(e Dim) bool {
	if m, n, ok := numbers(d, e); ok {
		return m >= n
	}
	if d.Equal(e) {
		return true
	}
	if a, ok := d.extreme('M'); ok && (a.a.atLeast(e) || a.b.atLeast(e)) {
		return true
	}
	a, ok := e.extreme('m')
	return ok && (d.atLeast(a.a) || d.atLeast(a.b))
}

// extreme is d as a maximum ('M') or minimum ('m'), if it is one.
func (d Dim) extreme(op byte) (atom, bool) {
	if len(d.terms) != 1 || d.terms[0].coef != 1 || len(d.terms[0].atoms) != 1 || d.terms[0].atoms[0].op != op {
		return atom{}, false
	}
	return d.terms[0].atoms[0], true
}

func extreme(op byte, d, e Dim, pick func(m, n int) int) Dim {
	m, n, ok := numbers(d, e)
	switch {
	case ok:
		return Const(pick(m, n))
	case d.Equal(e):
		return d
	case d.String() > e.String():
		d, e = e, d
	}
	return ofBinary(op, d, e)
}

func ofBinary(op byte, a, b Dim) Dim {
	var key string
	switch op {
	case '/':
		key = "floor((" + a.String() + ")/(" + b.String() + "))"
	case 'M':
		key = "max(" + a.String() + "," + b.String() + ")"
	case 'm':
		key = "min(" + a.String() + "," + b.String() + ")"
	}
	return ofAtom(atom{key, op, a, b})
}

// String is the normal form: a number, a symbol, or an expression over symbols.
func (d Dim) String() string {
	if len(d.terms) == 0 {
		return "0"
	}
	var s strings.Builder
	for i, t := range d.terms {
		if i > 0 && t.coef >= 0 {
			s.WriteByte('+')
		}
		switch k := t.key(); {
		case k == "":
			s.WriteString(strconv.Itoa(t.coef))
		case t.coef == 1:
			s.WriteString(k)
		default:
			s.WriteString(strconv.Itoa(t.coef) + "*" + k)
		}
	}
	return s.String()
}

// Eval is the number that d has under a binding of its symbols.
func (d Dim) Eval(bind map[string]int) (int, error) {
	sum := 0
	for _, t := range d.terms {
		product := t.coef
		for _, a := range t.atoms {
			v, err := a.eval(bind)
			if err != nil {
				return 0, err
			}
			product *= v
		}
		sum += product
	}
	return sum, nil
}

func (a atom) eval(bind map[string]int) (int, error) {
	if a.op == 's' {
		v, ok := bind[a.key]
		if !ok {
			return 0, fmt.Errorf("dimension %q is not bound", a.key)
		}
		return v, nil
	}
	x, err := a.a.Eval(bind)
	if err != nil {
		return 0, err
	}
	y, err := a.b.Eval(bind)
	if err != nil {
		return 0, err
	}
	switch a.op {
	case 'M':
		return max(x, y), nil
	case 'm':
		return min(x, y), nil
	}
	if y == 0 {
		return 0, fmt.Errorf("dimension %s divides by zero", a.key)
	}
	return floorDiv(x, y), nil
}

func floorDiv(a, b int) int {
	q := a / b
	if a%b != 0 && (a < 0) != (b < 0) {
		q--
	}
	return q
}

// Shape lists dimensions, the slowest first.
type Shape []Dim

// Dims is the shape of numbers.
func Dims(n ...int) Shape {
	s := make(Shape, len(n))
	for i, v := range n {
		s[i] = Const(v)
	}
	return s
}

// Len is the number of elements.
func (s Shape) Len() Dim {
	n := Const(1)
	for _, d := range s {
		n = n.Mul(d)
	}
	return n
}

// Static is the shape in numbers, if it has no symbols.
func (s Shape) Static() (tensor.Shape, bool) {
	out := make(tensor.Shape, len(s))
	for i, d := range s {
		n, ok := d.Value()
		if !ok {
			return nil, false
		}
		out[i] = n
	}
	return out, true
}

// Eval is the shape in numbers under a binding. A negative dimension is an error.
func (s Shape) Eval(bind map[string]int) (tensor.Shape, error) {
	out := make(tensor.Shape, len(s))
	for i, d := range s {
		n, err := d.Eval(bind)
		if err != nil {
			return nil, err
		}
		if n < 0 {
			return nil, fmt.Errorf("dimension %d (%v) of shape %v is negative: %d", i, d, s, n)
		}
		out[i] = n
	}
	return out, nil
}

func (s Shape) Equal(t Shape) bool { return slices.EqualFunc(s, t, Dim.Equal) }

func (s Shape) String() string {
	parts := make([]string, len(s))
	for i, d := range s {
		parts[i] = d.String()
	}
	return "[" + strings.Join(parts, ", ") + "]"
}

// symbol is the name, if d is one symbol.
func (d Dim) symbol() (string, bool) {
	if len(d.terms) == 1 && d.terms[0].coef == 1 && len(d.terms[0].atoms) == 1 && d.terms[0].atoms[0].op == 's' {
		return d.terms[0].atoms[0].key, true
	}
	return "", false
}
