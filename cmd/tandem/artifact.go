package main

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"

	"tandem/fault"
	"tandem/graph"
	"tandem/graph/onnx"
	"tandem/graph/op"
	"tandem/graph/pass"
	"tandem/internal/client"
	"tandem/llm"
	"tandem/model"
	"tandem/train"
)

// artifactAt is the directory of the artifact that a path means: its own, or that in
// the directory of a run; "" if it is neither.
func artifactAt(path string) string {
	for _, dir := range []string{path, filepath.Join(path, train.ModelDir)} {
		if exists(filepath.Join(dir, model.ManifestFile)) {
			return dir
		}
	}
	return ""
}

// localArtifact reads an artifact on this machine.
func localArtifact(path string) (*model.Manifest, model.Source, error) {
	dir := artifactAt(path)
	if dir != "" {
		return model.ReadDir(dir)
	}
	if r, err := train.ReadRecord(path); err == nil {
		return nil, nil, fault.New("tandem.artifact", fault.NotFound, "the run in %s has no model: it is %s", path, r.Status).
			Try("finish it with tandem train --out " + path + " --resume")
	}
	if !isPath(path) {
		return nil, nil, fault.New("tandem.artifact", fault.NotFound, "nothing on this machine is called %s", path).
			Try("of a model on the server: tandem models show " + path + ", or bring it here with tandem export")
	}
	return nil, nil, fault.New("tandem.artifact", fault.NotFound, "%s is neither a model nor a run", path).
		Try("give the directory of a run, or of a model, an .onnx or .gguf file, or a Hugging Face folder")
}

// languageAt tells whether a path is that of a model that generates text: a GGUF file, a
// Hugging Face folder, or a folder of GGUF files, of which one is to be named.
func languageAt(path string) bool {
	if strings.HasSuffix(strings.ToLower(path), ".gguf") {
		return true
	}
	files, _ := filepath.Glob(filepath.Join(path, "*.gguf")) // the pattern is right
	return artifactAt(path) == "" && (exists(filepath.Join(path, "config.json")) || len(files) > 0)
}

// isPath tells a path from the name of a model on the server: names have no separators,
// and what is there on the disk is meant.
func isPath(text string) bool {
	return strings.ContainsRune(text, filepath.Separator) || text == "." || text == ".." || exists(text)
}

// importCmd is `tandem import`.
type importCmd struct {
	Path   string `arg:"" placeholder:"PATH" help:"Directory of a run or of a model, an .onnx or .gguf file, or a Hugging Face folder."`
	Name   string `help:"Name of the model on the server: a-z, 0-9, dot, underscore, hyphen." placeholder:"NAME" required:""`
	Batch  bool   `help:"Rows of an .onnx file's inputs are independent, so that requests can be joined."`
	Deploy bool   `help:"Let the new version serve at once."`
}

// Run sends the artifact to the server.
func (c *importCmd) Run(ctx context.Context, a *app) (err error) {
	server, err := a.client()
	if err != nil {
		return err
	}
	path := c.Path
	if isONNX(path) {
		made, remove, err := temporaryArtifact(path, c.Batch)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, remove()) }()
		path = made
	}
	m, src, err := localArtifact(path)
	if languageAt(c.Path) {
		m, src, err = llm.Artifact(ctx, c.Path)
	}
	if err != nil {
		return err
	}
	v, err := server.Push(ctx, c.Name, m, src)
	if err != nil {
		return err
	}
	if !c.Deploy {
		if a.json {
			return a.emit(v)
		}
		a.say("%s is on the server, %s", ref(v.Model, v.Number), size(v.Bytes))
		a.say("Next: tandem deploy %s", ref(v.Model, v.Number))
		return nil
	}
	d, err := server.Deploy(ctx, v.Model, v.Number)
	return a.deployed(server, d, err)
}

// temporaryArtifact is artifactOfONNX in a folder that remove removes.
func temporaryArtifact(path string, batch bool) (dir string, remove func() error, err error) {
	tmp, err := os.MkdirTemp("", "tandem-onnx-")
	if err != nil {
		return "", nil, fault.From(err, "tandem.import")
	}
	remove = func() error { return os.RemoveAll(tmp) }
	dir = filepath.Join(tmp, "model")
	if err := artifactOfONNX(path, dir, batch); err != nil {
		return "", nil, errors.Join(err, remove())
	}
	return dir, remove, nil
}

// artifactOfONNX makes an artifact of a file: its signature is what the graph says of
// its inputs and outputs.
func artifactOfONNX(path, dir string, batch bool) (err error) {
	g, mapping, err := onnx.Load(path, onnx.LoadOptions{})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, mapping.Close()) }()
	if err := pass.Unzip().Run(g, op.Default()); err != nil {
		return err
	}
	if err := graph.InferTypes(g, op.Default()); err != nil {
		return fault.Wrap(err, "tandem.import", fault.Unsupported, "%s uses what Tandem does not compute", path)
	}
	if batch {
		if err := checkBatch(g); err != nil {
			return err
		}
	}
	_, err = model.Write(dir, model.Artifact{Graph: g, Batch: batch})
	return err
}

// checkBatch refuses --batch where the graph contradicts it.
func checkBatch(g *graph.Graph) error {
	for _, list := range [][]*graph.Value{g.Inputs, g.Outputs} {
		for _, v := range list {
			if len(v.Type.Shape) > 0 {
				if _, fixed := v.Type.Shape[0].Value(); !fixed {
					continue
				}
			}
			return fault.New("tandem.import", fault.Invalid, "%s has no batch: its first dimension is fixed", v.Name).Try("leave out --batch, or export the model with a free first dimension")
		}
	}
	return nil
}

// exportCmd is `tandem export`.
type exportCmd struct {
	Model  string `arg:"" placeholder:"NAME[:VERSION]|PATH" help:"Model on the server, or directory of a run or of a model."`
	Output string `arg:"" placeholder:"FILE.onnx" help:"File to write."`
}

// Run writes the graph and says what it leaves behind.
func (c *exportCmd) Run(ctx context.Context, a *app) (err error) {
	var m *model.Manifest
	var src model.Source
	if isONNX(c.Model) || languageAt(c.Model) {
		return fault.New("tandem.export", fault.Invalid, "%s is a file to export to, or of another form: there is nothing to export", c.Model).
			Try("give a model on the server, or the directory of a run or of a model")
	}
	if isPath(c.Model) {
		m, src, err = localArtifact(c.Model)
	} else {
		tmp, terr := os.MkdirTemp("", "tandem-export-")
		if terr != nil {
			return fault.From(terr, "tandem.export")
		}
		defer func() { err = errors.Join(err, os.RemoveAll(tmp)) }()
		m, src, err = a.fetch(ctx, c.Model, tmp)
	}
	if err != nil {
		return err
	}
	behind, err := model.Export(ctx, m, src, c.Output)
	if err != nil {
		return err
	}
	if a.json {
		return a.emit(struct {
			Path   string            `json:"path"`
			Behind []model.StageSpec `json:"stays_behind"`
		}{c.Output, append([]model.StageSpec{}, behind...)})
	}
	a.say("%s is written.", c.Output)
	return a.sayBehind(m, src, behind)
}

// sayBehind tells what whoever uses the file must do by himself.
func (a *app) sayBehind(m *model.Manifest, src model.Source, behind []model.StageSpec) error {
	for _, s := range behind {
		a.say("Stays behind: stage %s (%s). ONNX has no form for it.", s.Kind, s.File)
		if s.Kind != model.KindImage {
			continue
		}
		image, err := model.ImageOf(m, src)
		if err != nil {
			return err
		}
		mean, std := []float32{0}, []float32{1}
		if len(image.Mean) > 0 {
			mean = image.Mean
		}
		if len(image.Std) > 0 {
			std = image.Std
		}
		a.say("Before the file can be used, pixels (0 to 255) must become (pixel × %.6g − %v) / %v, as float32 [N,%d,%d,%d].",
			image.Scale, mean, std, image.Channels, image.Height, image.Width)
	}
	return nil
}

// fetch brings an artifact from the server into a directory.
func (a *app) fetch(ctx context.Context, text, dir string) (*model.Manifest, model.Source, error) {
	r, err := parseRef(text)
	if err != nil {
		return nil, nil, err
	}
	server, err := a.client()
	if err != nil {
		return nil, nil, err
	}
	m, err := manifestOf(ctx, server, r)
	if err != nil {
		return nil, nil, err
	}
	src, err := server.Pull(ctx, m.Files, dir)
	return m, src, err
}

func manifestOf(ctx context.Context, server *client.Client, r modelRef) (*model.Manifest, error) {
	v, err := server.Version(ctx, r.name, r.version)
	if err != nil {
		return nil, err
	}
	return server.Manifest(ctx, v)
}

// read reads a file, or standard input for -, up to a limit.
func (a *app) read(path string, limitBytes int64) (_ []byte, err error) {
	const op = "tandem.read"
	in := a.in
	if path != "-" {
		f, err := os.Open(path)
		if err != nil {
			return nil, fault.From(err, op)
		}
		defer f.Close()
		in = f
	}
	data, err := io.ReadAll(io.LimitReader(in, limitBytes+1))
	if err != nil {
		return nil, fault.From(err, op)
	}
	if int64(len(data)) > limitBytes {
		return nil, fault.New(op, fault.TooLarge, "%s has more than %d bytes", path, limitBytes)
	}
	return data, nil
}
