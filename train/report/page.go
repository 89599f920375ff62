package report

import "html/template"

// page is the template, in a language.
func page(lang Language) *template.Template {
	return template.Must(template.New("page").Funcs(template.FuncMap{"say": lang.Text}).Parse(pageText))
}

const pageText = `<!DOCTYPE html>
<html lang="{{.Lang}}">
<head>
<meta charset="utf-8"/>
<meta name="viewport" content="width=device-width, initial-scale=1"/>
<title>{{.Record.Name}} – {{say "training run"}}</title>
<style>
:root { --ink: #1b2430; --soft: #5c6773; --line: #d8dee6; --back: #ffffff; --a: #2463c5; --b: #d9622b; --hit: 36,99,197; --miss: 217,98,43; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6e9ee; --soft: #9aa5b1; --line: #38424e; --back: #12171d; --a: #6da2f2; --b: #f0905f; } }
body { margin: 2rem auto; padding: 0 1rem; max-width: 76rem; background: var(--back); color: var(--ink); font: 15px/1.5 system-ui, sans-serif; }
h1 { font-size: 1.6rem; margin-bottom: .2rem; } h2 { font-size: 1.15rem; margin-top: 2.2rem; }
table { border-collapse: collapse; } th, td { padding: .2rem .7rem; text-align: left; border-bottom: 1px solid var(--line); }
td.n, th.n { text-align: right; font-variant-numeric: tabular-nums; } td.d { font-family: ui-monospace, monospace; overflow-wrap: anywhere; }
th { color: var(--soft); font-weight: 600; } .charts { display: flex; flex-wrap: wrap; gap: 1rem; } figure { margin: 0; }
figcaption { font-weight: 600; } .legend { font-weight: 400; color: var(--soft); } .scroll { overflow-x: auto; }
svg text { fill: var(--soft); font-size: 11px; } .grid { stroke: var(--line); } .train { stroke: var(--a); color: var(--a); } .test { stroke: var(--b); color: var(--b); }
polyline { fill: none; stroke-width: 1.6; } circle { fill: currentColor; stroke: none; }
pre { padding: 1rem; border: 1px solid var(--line); overflow-x: auto; font: 13px/1.45 ui-monospace, monospace; }
.matrix td { text-align: right; min-width: 2rem; border: 1px solid var(--line); }
{{- range $i, $_ := .Shades}}
.r{{$i}} { background: rgba(var(--hit), {{.}}); } .w{{$i}} { background: rgba(var(--miss), {{.}}); }
{{- end}}
</style>
</head>
<body>
<h1>{{.Record.Name}}</h1>
<p class="legend">{{say "training run"}} {{.Record.ID}}</p>
<table>
{{- range .Facts}}
<tr><th>{{say .Name}}</th><td class="d">{{.Value}}</td></tr>
{{- end}}
</table>
{{- if .Metrics}}
<h2>{{say "Test set"}}</h2>
<table>
{{- range .Metrics}}
<tr><th>{{say .Name}}</th><td class="n">{{.Value}}</td></tr>
{{- end}}
</table>
{{- end}}
{{- if .Charts}}
<h2>{{say "Curves over steps"}}</h2>
<div class="charts">
{{- range .Charts}}
<figure>
<figcaption>{{say .Title}} <span class="legend">{{range .Lines}}<span class="{{.Class}}">&#9632;</span> {{say .Name}} {{end}}</span></figcaption>
<svg viewBox="0 0 {{.Width}} {{.Height}}" width="{{.Width}}" height="{{.Height}}" role="img">
{{- $c := .}}
{{- range .Y}}
<line class="grid" x1="62" x2="{{$c.Right}}" y1="{{.At}}" y2="{{.At}}"/><text x="56" y="{{.At}}" dy="4" text-anchor="end">{{.Label}}</text>
{{- end}}
{{- range .X}}
<line class="grid" x1="{{.At}}" x2="{{.At}}" y1="{{$c.Bottom}}" y2="12"/><text x="{{.At}}" y="{{$c.Bottom}}" dy="16" text-anchor="middle">{{.Label}}</text>
{{- end}}
{{- range .Lines}}
<polyline class="{{.Class}}" points="{{.Points}}"/>
{{- $class := .Class}}{{range .Dots}}
<circle class="{{$class}}" cx="{{.X}}" cy="{{.Y}}" r="3"><title>{{.Text}}</title></circle>
{{- end}}
{{- end}}
</svg>
</figure>
{{- end}}
</div>
{{- end}}
{{- if .Matrix}}
<h2>{{say "Confusion matrix"}}</h2>
<p class="legend">{{say "A row is a label, a column what was predicted."}}</p>
<div class="scroll"><table class="matrix">
<tr><th></th>{{range .Matrix.Names}}<th>{{.}}</th>{{end}}</tr>
{{- range .Matrix.Rows}}
<tr><th>{{.Name}}</th>{{range .Cells}}<td class="{{if .Right}}r{{else}}w{{end}}{{.Shade}}">{{.Count}}</td>{{end}}</tr>
{{- end}}
</table></div>
{{- end}}
{{- if .Errors}}
<h2>{{say "Most frequent errors"}}</h2>
<table>
<tr><th>{{say "label"}}</th><th>{{say "predicted"}}</th><th class="n">{{say "examples"}}</th></tr>
{{- range .Errors}}
<tr><td>{{.Label}}</td><td>{{.Said}}</td><td class="n">{{.Count}}</td></tr>
{{- end}}
</table>
{{- end}}
{{- if .Classes}}
<h2>{{say "Classes"}}</h2>
<div class="scroll"><table>
<tr><th>{{say "label"}}</th><th class="n">{{say "precision"}}</th><th class="n">{{say "recall"}}</th><th class="n">F1</th><th class="n">AUC</th><th class="n">{{say "examples"}}</th></tr>
{{- range .Classes}}
<tr><td>{{.Name}}</td><td class="n">{{.Precision}}</td><td class="n">{{.Recall}}</td><td class="n">{{.F1}}</td><td class="n">{{.Area}}</td><td class="n">{{.Examples}}</td></tr>
{{- end}}
</table></div>
{{- if .Left}}<p class="legend">+ {{.Left}}</p>{{end}}
{{- end}}
<h2>{{say "Spec"}}</h2>
<pre>{{.Spec}}</pre>
</body>
</html>
`
