package main

import (
	"fmt"
	"io"
	"strings"

	"github.com/alecthomas/kong"

	"tandem/fault"
	"tandem/internal/message"
)

// help writes what --help shows. kong's own printer speaks English only.
func (a *app) help(c *kong.Context) error {
	node := c.Selected()
	if node == nil {
		node = c.Model.Node
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s\n", a.msg.Sprintf("Usage: %s", synopsis(node)))
	if node.Type == kong.ApplicationNode {
		fmt.Fprintf(&b, "\n%s\n", a.msg.Sprintf("Tandem trains models and serves them, in one program."))
	} else {
		fmt.Fprintf(&b, "\n%s\n", a.msg.Text(node.Help))
	}
	a.helpCommands(&b, node)
	a.helpArguments(&b, node)
	if node.Leaf() || node.Type == kong.ApplicationNode {
		a.helpFlags(&b, "Flags", node.Flags)
	}
	if node.Type != kong.ApplicationNode {
		a.helpFlags(&b, "Flags of every verb", c.Model.Flags)
	}
	if lines := examples(verbOf(node)); len(lines) > 0 {
		fmt.Fprintf(&b, "\n%s\n", a.msg.Sprintf("Examples:"))
		for _, l := range lines {
			fmt.Fprintf(&b, "  %s\n", l)
		}
	}
	if !node.Leaf() {
		fmt.Fprintf(&b, "\n%s\n", a.msg.Sprintf("%s shows a verb's arguments and flags.", strings.TrimSpace("tandem "+verbOf(node))+" VERB --help"))
	}
	_, err := io.WriteString(a.out, b.String())
	return fault.From(err, "tandem.help")
}

// verbOf is the words of a verb: "keys create".
func verbOf(n *kong.Node) string {
	var words []string
	for ; n != nil && n.Type == kong.CommandNode; n = n.Parent {
		words = append([]string{n.Name}, words...)
	}
	return strings.Join(words, " ")
}

func synopsis(n *kong.Node) string {
	s := strings.TrimSpace("tandem " + verbOf(n))
	if !n.Leaf() {
		s += " VERB"
	}
	for _, p := range n.Positional {
		s += " " + placeholder(p)
	}
	return s + " [--flag …]"
}

func placeholder(p *kong.Value) string {
	name := p.Tag.PlaceHolder
	if name == "" {
		name = strings.ToUpper(p.Name)
	}
	if p.IsCumulative() {
		name += " …"
	}
	if !p.Required {
		name = "[" + name + "]"
	}
	return name
}

func (a *app) helpCommands(b *strings.Builder, n *kong.Node) {
	section := func(title, group string) {
		var rows [][]string
		for _, c := range n.Children {
			if group == "" || c.Group != nil && c.Group.Key == group {
				rows = append(rows, []string{c.Name, a.msg.Text(c.Help)})
			}
		}
		if len(rows) > 0 {
			fmt.Fprintf(b, "\n%s\n", a.msg.Text(title))
			_ = message.WriteTable(b, "  ", rows) // a strings.Builder cannot fail
		}
	}
	if n.Type != kong.ApplicationNode {
		section("Verbs", "")
		return
	}
	for _, g := range groups() {
		section(g.title, g.key)
	}
}

func (a *app) helpArguments(b *strings.Builder, n *kong.Node) {
	var rows [][]string
	for _, p := range n.Positional {
		rows = append(rows, []string{placeholder(p), a.msg.Text(p.Help)})
	}
	if len(rows) > 0 {
		fmt.Fprintf(b, "\n%s\n", a.msg.Text("Arguments"))
		_ = message.WriteTable(b, "  ", rows) // a strings.Builder cannot fail
	}
}

func (a *app) helpFlags(b *strings.Builder, title string, flags []*kong.Flag) {
	var rows [][]string
	for _, f := range flags {
		if f.Hidden {
			continue
		}
		name := "--" + f.Name
		if f.Short != 0 {
			name = fmt.Sprintf("-%c, %s", f.Short, name)
		}
		if !f.IsBool() {
			value := f.PlaceHolder
			if value == "" {
				value = strings.ToUpper(f.Name)
			}
			name += " " + value
		}
		text := a.msg.Text(f.Help)
		if f.HasDefault && f.Default != "" {
			text += " " + a.msg.Sprintf("[default: %s]", f.Default)
		}
		if len(f.Envs) > 0 {
			text += " [$" + strings.Join(f.Envs, ", $") + "]"
		}
		rows = append(rows, []string{name, text})
	}
	if len(rows) > 0 {
		fmt.Fprintf(b, "\n%s\n", a.msg.Text(title))
		_ = message.WriteTable(b, "  ", rows) // a strings.Builder cannot fail
	}
}
