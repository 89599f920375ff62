package llm

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"tandem/fault"
	"tandem/model"
	"tandem/model/gguf"
	"tandem/tensor"
)

// The names of files in an artifact.
const (
	ggufFile      = "model.gguf"
	configFile    = "config.json"
	tokenizerFile = "tokenizer.json"
)

// ggufPart is a part of a model in several files, in an artifact.
func ggufPart(i, of int) string { return fmt.Sprintf("model-%05d-of-%05d.gguf", i+1, of) }

// folderFiles are what else is taken from a Hugging Face folder, where it is there.
func folderFiles() []string {
	return []string{"generation_config.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json",
		"chat_template.jinja", "chat_template.json"}
}

// Artifact describes a GGUF file, or a Hugging Face folder, as an artifact, whose files
// stay where they are. Their digests are computed: that takes as long as reading them.
func Artifact(ctx context.Context, path string) (*model.Manifest, model.Source, error) {
	paths, err := artifactPaths(path)
	if err != nil {
		return nil, nil, err
	}
	main := configFile
	if _, ok := paths[configFile]; !ok {
		main = slices.Min(slices.Collect(maps.Keys(paths)))
	}
	text := []model.TensorSpec{{Name: "text", DType: tensor.String.String(), Shape: []int{-1}}}
	m := &model.Manifest{
		Format: model.FormatVersion, Family: "language", Task: "generate",
		Stages:    []model.StageSpec{{Kind: model.KindLanguage, File: main}},
		Signature: model.Signature{Inputs: text, Outputs: text},
	}
	for name, path := range paths {
		f, err := digested(ctx, name, path)
		if err != nil {
			return nil, nil, err
		}
		m.Files = append(m.Files, f)
	}
	slices.SortFunc(m.Files, func(a, b model.File) int { return strings.Compare(a.Name, b.Name) })
	if err := m.Validate(); err != nil {
		return nil, nil, err
	}
	return m, func(f model.File) (string, error) { return paths[f.Name], nil }, nil
}

// artifactPaths finds the files by their names in the artifact, and checks that they are
// a model that can be opened.
func artifactPaths(path string) (map[string]string, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, fault.From(err, "llm.artifact")
	}
	if !info.IsDir() {
		f, err := gguf.Open(path)
		if err != nil {
			return nil, err
		}
		_, err = parseGGUF(f, 0)
		paths := map[string]string{ggufFile: path}
		if n := len(f.Paths); n > 1 {
			clear(paths)
			for i, p := range f.Paths {
				paths[ggufPart(i, n)] = p
			}
		}
		return paths, errors.Join(err, f.Close())
	}
	find := folder(path)
	text, err := read(find, configFile)
	if err != nil {
		return nil, err
	}
	if _, err := parseHF(text, 0); err != nil {
		return nil, err
	}
	names, err := shardsOf(find)
	if err != nil {
		return nil, err
	}
	paths := map[string]string{configFile: filepath.Join(path, configFile)}
	for _, name := range append([]string{tokenizerFile}, names...) {
		paths[name] = filepath.Join(path, name)
		if _, err := os.Stat(paths[name]); err != nil {
			return nil, missing(err, paths[name], name)
		}
	}
	for _, name := range append(folderFiles(), shardIndex) {
		if p := filepath.Join(path, name); exists(p) {
			paths[name] = p
		}
	}
	return paths, nil
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return !errors.Is(err, fs.ErrNotExist)
}

// digested reads a file once, a piece at a time.
func digested(ctx context.Context, name, path string) (_ model.File, err error) {
	const op, pieceBytes = "llm.artifact", 4 << 20
	f, err := os.Open(path)
	if err != nil {
		return model.File{}, fault.From(err, op)
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	h, total := sha256.New(), int64(0)
	for {
		n, err := io.CopyN(h, f, pieceBytes)
		total += n
		if errors.Is(err, io.EOF) {
			return model.File{Name: name, Digest: model.Digest("sha256:" + hex.EncodeToString(h.Sum(nil))), Bytes: total}, nil
		}
		if err == nil {
			err = ctx.Err()
		}
		if err != nil {
			return model.File{}, fault.Wrap(err, op, fault.KindOf(err), "%s", path)
		}
	}
}

// OpenArtifact verifies an artifact's files and opens the model.
func OpenArtifact(ctx context.Context, m *model.Manifest, src model.Source, o Options) (*Model, error) {
	if err := model.Verify(ctx, m, src); err != nil {
		return nil, err
	}
	find := func(name string) (string, error) {
		f, ok := m.File(name)
		if !ok {
			return "", fault.Wrap(fs.ErrNotExist, "llm.open", fault.NotFound, "the artifact has no file %q", name)
		}
		return src(f)
	}
	if filepath.Ext(m.Stages[0].File) == filepath.Ext(ggufFile) {
		var paths []string
		for _, f := range m.Files { // by name: the parts in order
			path, err := src(f)
			if err != nil {
				return nil, err
			}
			paths = append(paths, path)
		}
		return open(func(m *Model) (*weights, error) {
			f, err := gguf.OpenParts(paths...)
			if err != nil {
				return nil, err
			}
			return m.readFile(f, o)
		}, o)
	}
	return open(func(x *Model) (*weights, error) { return x.readFolder(find, o) }, o)
}

// finder tells where a file of a Hugging Face folder lies.
type finder func(name string) (path string, err error)

// folder finds files by name.
func folder(dir string) finder {
	return func(name string) (string, error) { return filepath.Join(dir, name), nil }
}

// missing says that a folder lacks a file; where GGUF files lie in it, one is likely meant.
func missing(err error, path, name string) error {
	if fault.KindOf(err) != fault.NotFound {
		return fault.From(err, "llm.open")
	}
	const op = "llm.open"
	dir := filepath.Dir(path)
	if name != configFile && exists(filepath.Join(dir, configFile)) {
		e := fault.New(op, fault.NotFound, "the Hugging Face folder %s has no %s", dir, name)
		if pickled, _ := filepath.Glob(filepath.Join(dir, "*.bin")); len(pickled) > 0 && filepath.Ext(name) == ".safetensors" {
			return e.Try("save the model as safetensors: weights in .bin files are not read, because they can run programs")
		}
		if name == tokenizerFile && (exists(filepath.Join(dir, "tokenizer.model")) || exists(filepath.Join(dir, "vocab.json"))) {
			return e.Try("let transformers write it: AutoTokenizer.from_pretrained(FOLDER).save_pretrained(FOLDER)")
		}
		return e.Try("fetch all files of the model again: config.json, safetensors and tokenizer.json")
	}
	e := fault.New(op, fault.NotFound, "%s is no Hugging Face folder: it has no %s", dir, name)
	if files, _ := filepath.Glob(filepath.Join(dir, "*.gguf")); len(files) > 0 {
		return e.Try("give the path of a .gguf file, such as " + files[0])
	}
	return e.Try("give a .gguf file, or a folder with config.json, safetensors and tokenizer.json")
}

// maxTextFile bounds the JSON and templates beside a model.
const maxTextFile = 256 << 20 // bytes

// read reads a whole file.
func read(find finder, name string) ([]byte, error) {
	path, err := find(name)
	if err != nil {
		return nil, err
	}
	info, err := os.Stat(path)
	if err != nil {
		return nil, missing(err, path, name)
	}
	if info.Size() > maxTextFile {
		return nil, fault.New("llm.open", fault.TooLarge, "%s has %d bytes, at most %d are read", name, info.Size(), maxTextFile)
	}
	text, err := os.ReadFile(path)
	return text, fault.From(err, "llm.open")
}
