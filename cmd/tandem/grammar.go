package main

import (
	"errors"

	"github.com/alecthomas/kong"
)

// grammar is the command line. Help texts are keys of the catalogue.
type grammar struct {
	remote
	JSON bool     `name:"json" help:"Print one JSON object a line."`
	Lang string   `help:"Language of messages: en, zh, or auto for that of the environment." placeholder:"LANG" enum:"auto,en,zh" default:"auto"`
	Help helpFlag `short:"h" help:"Show help."`

	ShowVersion versionFlag `name:"version" help:"Show the version."`

	Demo    demoCmd    `cmd:"" group:"start" help:"Train, deploy and call a real model, end to end."`
	Serve   serveCmd   `cmd:"" group:"start" help:"Serve models over the network."`
	Version versionCmd `cmd:"" group:"start" help:"Show the version."`

	Train   trainCmd   `cmd:"" group:"models" help:"Train a model."`
	Runs    runsCmd    `cmd:"" group:"models" help:"List, show and compare training runs."`
	Predict predictCmd `cmd:"" group:"models" help:"Run a model on pictures, rows, texts or tensors."`
	Chat    chatCmd    `cmd:"" group:"models" help:"Talk with a model."`
	Import  importCmd  `cmd:"" group:"models" help:"Send a model to the server as a new version."`
	Export  exportCmd  `cmd:"" group:"models" help:"Write a model as an ONNX file."`
	Inspect inspectCmd `cmd:"" group:"models" help:"Show what a model takes, gives and consists of."`

	Quantize quantizeCmd `cmd:"" group:"models" help:"Write a model with weights of fewer bits."`

	Bench benchCmd `cmd:"" group:"models" help:"Measure how fast a model runs, and where its time goes."`

	Conformance conformanceCmd `cmd:"" group:"models" help:"Run the published test cases of a format."`

	Models      modelsCmd      `cmd:"" group:"server" help:"List, show and delete models on the server."`
	Deploy      deployCmd      `cmd:"" group:"server" help:"Let a version of a model serve."`
	Rollback    rollbackCmd    `cmd:"" group:"server" help:"Let the version serve that served before."`
	Deployments deploymentsCmd `cmd:"" group:"server" help:"List and end deployments."`
	Keys        keysCmd        `cmd:"" group:"server" help:"Create, list and revoke keys."`
	Usage       usageCmd       `cmd:"" group:"server" help:"Show what was used, by day, key and model."`
}

// groups are the headings of the verbs, in order.
func groups() []struct{ key, title string } {
	return []struct{ key, title string }{
		{"start", "Start here"}, {"models", "Models on this machine"}, {"server", "With a server"},
	}
}

// errHelped ends parsing when help was asked for.
var errHelped = errors.New("help was shown")

// helpFlag shows help before what is missing is asked for.
type helpFlag bool

// BeforeReset is called by kong when the flag is seen.
func (helpFlag) BeforeReset(c *kong.Context, a *app) error {
	if err := a.help(c); err != nil {
		return err
	}
	return errHelped
}

// versionFlag shows the version, as programs do that have no verb for it.
type versionFlag bool

// BeforeReset is called by kong when the flag is seen.
func (versionFlag) BeforeReset(a *app) error {
	if err := (versionCmd{}).Run(a); err != nil {
		return err
	}
	return errHelped
}

// examples are lines to copy, by verb.
func examples(verb string) []string {
	return map[string][]string{
		"": {"tandem demo", "tandem serve"},
		"demo": {"tandem demo", "tandem demo --keep tandem-demo",
			"tandem demo --epochs 1 --limit-rows 6000"},
		"serve": {"tandem serve", "tandem serve --data /srv/tandem --http 0.0.0.0:8080",
			"tandem serve --insecure --max-batch-rows 128"},
		"version": {"tandem version --json"},
		"train": {"tandem train --family vision --data mnist --epochs 3", "tandem train spec.yaml --out runs/first",
			"tandem train --family vision --data photos.zip --set 'model.layers=[resnet: 18]' --set 'model.augment={flip: true, shift: 4}'",
			"tandem train --family tabular --data people.csv --set model.target=income", "tandem train --family language --data shakespeare.txt --set data.window=64",
			"tandem train --out runs/first --resume", "tandem train --family vision --explain"},
		"runs":               {"tandem runs list", "tandem runs compare first second"},
		"runs list":          {"tandem runs list", "tandem runs list --runs experiments --json"},
		"runs show":          {"tandem runs show first", "tandem runs show runs/first --json"},
		"runs report":        {"tandem runs report first", "tandem runs report runs/first --lang zh"},
		"runs compare":       {"tandem runs compare first second"},
		"predict":            {"tandem predict runs/first --input seven.png", "tandem predict mnist:2 --input request.json --output answer.json", "tandem predict model.onnx --input x.npz --output y.npz", "echo \"To be\" | tandem predict runs/shakespeare --tokens 300 --temperature 0.8", "cat seven.png | tandem predict mnist --input -"},
		"chat":               {"tandem chat model.gguf", "tandem chat qwen3 --system \"Answer in one sentence.\"", "echo \"Why is the sky blue?\" | tandem chat model.gguf --temperature 0"},
		"import":             {"tandem import runs/first --name mnist", "tandem import model.onnx --name resnet --batch", "tandem import runs/first --name mnist --deploy"},
		"export":             {"tandem export mnist:1 mnist.onnx", "tandem export runs/first mnist.onnx"},
		"inspect":            {"tandem inspect model.onnx", "tandem inspect runs/first --json", "tandem inspect model.gguf"},
		"bench":              {"tandem bench model.onnx --batch 8 --threads 2", "tandem bench model.onnx --shape pixels=1x3x224x224 --seconds 10 --profile", "tandem bench model.onnx --input x.npz --json", "tandem bench model.gguf --pp 512 --tg 128 --threads 2 --json"},
		"quantize":           {"tandem quantize model.onnx --precision int8 --data x.npz --output model-int8.onnx", "tandem quantize model-f16.gguf --precision q4_k_m --output model-q4_k_m.gguf", "tandem quantize model-f16.gguf --precision q8_0 --output model-q8_0.gguf --json"},
		"conformance":        {"tandem conformance onnx onnx/backend/test/data"},
		"conformance onnx":   {"tandem conformance onnx onnx/backend/test/data", "tandem conformance onnx onnx/backend/test/data --match ^test_conv --json"},
		"models":             {"tandem models list", "tandem models show mnist"},
		"models list":        {"tandem models list --json"},
		"models show":        {"tandem models show mnist", "tandem models show mnist:2"},
		"models delete":      {"tandem models delete mnist:1", "tandem models delete mnist"},
		"deploy":             {"tandem deploy mnist", "tandem deploy mnist:2"},
		"rollback":           {"tandem rollback mnist"},
		"deployments":        {"tandem deployments list"},
		"deployments list":   {"tandem deployments list --json"},
		"deployments delete": {"tandem deployments delete mnist"},
		"keys":               {"tandem keys list"},
		"keys create": {"tandem keys create --name alice --role developer",
			"tandem keys create --name rescue --role owner --data /srv/tandem"},
		"keys list":   {"tandem keys list"},
		"keys revoke": {"tandem keys revoke 0198c2f1-7d4e-7a3b-9c55-3f1a2b3c4d5e"},
		"usage":       {"tandem usage", "tandem usage --from 2026-01-01 --to 2026-01-31 --json"},
	}[verb]
}
