package graph

import (
	"testing"

	"pgregory.net/rapid"
)

func TestDimNormalForm(t *testing.T) {
	b, s := Sym("batch"), Sym("seq")
	for _, tc := range []struct {
		got  Dim
		want string
	}{
		{b.Mul(Const(64)).Mul(Const(12)).Div(Const(64).Mul(Const(12))), "batch"},
		{b.Mul(s).Div(s), "batch"},
		{b.Add(s).Sub(b), "seq"},
		{b.Add(Const(1)).Mul(b.Sub(Const(1))), "-1+batch*batch"},
		{b.Sub(b), "0"},
		{Const(7).Div(Const(2)), "3"},
		{Const(-7).Div(Const(2)), "-4"},
		{Const(7).CeilDiv(Const(2)), "4"},
		{s.Sub(Const(3)).Div(Const(2)).Add(Const(1)), "1+floor((-3+seq)/(2))"},
		{b.Max(s), "max(batch,seq)"},
		{s.Max(b), "max(batch,seq)"},
		{b.Max(b), "batch"},
		{s.Max(Const(512).Min(s)).Max(Const(512).Min(s)), "seq"},
		{s.Min(b.Max(s)), "seq"},
		{b.Max(s).Max(Const(512).Min(s)), "max(batch,seq)"},
	} {
		if tc.got.String() != tc.want {
			t.Errorf("got %v, want %s", tc.got, tc.want)
		}
	}
}

// TestDimArithmeticIsThatOfItsValues draws expressions and compares what they
// evaluate to with the same computation on integers.
func TestDimArithmeticIsThatOfItsValues(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		bind := map[string]int{"a": rapid.IntRange(1, 50).Draw(t, "a"), "b": rapid.IntRange(1, 50).Draw(t, "b")}
		d, want := Sym("a"), bind["a"]
		for range rapid.IntRange(1, 8).Draw(t, "steps") {
			e, n := Const(rapid.IntRange(-5, 9).Draw(t, "n")), 0
			if rapid.Bool().Draw(t, "symbol") {
				e = Sym("b")
			}
			n, _ = e.Eval(bind)
			switch op := rapid.SampledFrom([]string{"add", "sub", "mul", "div", "ceil", "max", "min"}).Draw(t, "op"); op {
			case "add":
				d, want = d.Add(e), want+n
			case "sub":
				d, want = d.Sub(e), want-n
			case "mul":
				if want > 1<<20 || want < -1<<20 {
					continue
				}
				d, want = d.Mul(e), want*n
			case "div", "ceil":
				if n == 0 {
					continue
				}
				if op == "div" {
					d, want = d.Div(e), floorDiv(want, n)
				} else {
					d, want = d.CeilDiv(e), -floorDiv(-want, n)
				}
			case "max":
				d, want = d.Max(e), max(want, n)
			case "min":
				d, want = d.Min(e), min(want, n)
			}
		}
		got, err := d.Eval(bind)
		if err != nil || got != want {
			t.Fatalf("%v = %d, %v; want %d with %v", d, got, err, want, bind)
		}
	})
}

func TestDimEvalNamesWhatIsUnbound(t *testing.T) {
	if _, err := Sym("rows").Add(Const(1)).Eval(nil); err == nil || err.Error() != `dimension "rows" is not bound` {
		t.Error(err)
	}
	if _, err := Const(3).Div(Sym("z")).Eval(map[string]int{"z": 0}); err == nil {
		t.Error("division by zero")
	}
	if _, err := (Shape{Sym("a").Sub(Const(5))}).Eval(map[string]int{"a": 2}); err == nil {
		t.Error("a negative dimension")
	}
}

func TestDimNatural(t *testing.T) {
	b, s := Sym("batch"), Sym("seq")
	for _, d := range []Dim{b, b.Mul(s).Add(Const(3)), b.Max(Const(2)), s.Min(b).Div(Const(2)), Const(0)} {
		if !d.Natural() {
			t.Errorf("%v is taken for negative", d)
		}
	}
	for _, d := range []Dim{Const(-1), b.Sub(Const(1)), b.Sub(s).Max(s.Sub(b)), s.Sub(Const(3)).Div(Const(2))} {
		if d.Natural() {
			t.Errorf("%v may be negative", d)
		}
	}
}
