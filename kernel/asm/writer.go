package main

import (
	"bytes"
	"os"
	"path/filepath"

	"github.com/mmcloughlin/avo/attr"
	"github.com/mmcloughlin/avo/buildtags"
	"github.com/mmcloughlin/avo/gotypes"
	"github.com/mmcloughlin/avo/ir"
	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/pass"
	"github.com/mmcloughlin/avo/printer"
	"github.com/mmcloughlin/avo/reg"
	"github.com/mmcloughlin/avo/x86"
)

// writer collects the functions of one output file. It stands in for avo's
// build.Context, which would bring golang.org/x/tools into the module. Errors
// are the generator's own mistakes, so they panic.
type writer struct {
	file *ir.File
	fn   *ir.Function
}

func generate(name string, write func(*writer), dir string) error {
	w := &writer{file: ir.NewFile()}
	constraint, err := buildtags.ParseConstraint("amd64,!purego")
	if err != nil {
		return err
	}
	w.file.Constraints = buildtags.Constraints{constraint}
	write(w)
	if err := pass.Compile.Execute(w.file); err != nil {
		return err
	}
	cfg := printer.Config{Argv: []string{"go", "run", "tandem/kernel/asm"}, Pkg: "kernel"}
	base := filepath.Join(dir, "zz_"+name+"_amd64")
	for ext, p := range map[string]printer.Printer{".s": printer.NewGoAsm(cfg), ".go": printer.NewStubs(cfg)} {
		text, err := p.Print(w.file)
		if err != nil {
			return err
		}
		if err := os.WriteFile(base+ext, bytes.TrimLeft(text, "\n"), 0o644); err != nil {
			return err
		}
	}
	return nil
}

// function starts a function without a frame.
func (w *writer) function(name, signature, doc string) {
	w.fn = ir.NewFunction(name)
	s, err := gotypes.ParseSignature(signature)
	if err != nil {
		panic(err)
	}
	w.fn.SetSignature(s)
	w.fn.Attributes = attr.NOSPLIT
	w.fn.AddPragma("noescape")
	w.fn.Doc = []string{doc}
	w.file.AddSection(w.fn)
}

func (w *writer) do(i *ir.Instruction, err error) {
	if err != nil {
		panic(err)
	}
	w.fn.AddInstruction(i)
}

func (w *writer) label(name string) { w.fn.AddLabel(ir.Label(name)) }

// param is where the named parameter lies.
func (w *writer) param(name string) operand.Op {
	b, err := w.fn.Signature.Params().Lookup(name).Resolve()
	if err != nil {
		panic(err)
	}
	return b.Addr
}

// load reads a parameter of 64 bits.
func (w *writer) load(name string, r reg.Register) { w.do(x86.MOVQ(w.param(name), r)) }

func mem(base reg.Register, disp int) operand.Mem { return operand.Mem{Base: base, Disp: disp} }

func to(label string) operand.LabelRef { return operand.LabelRef(label) }
