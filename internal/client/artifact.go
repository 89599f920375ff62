package client

import (
	"context"
	"errors"
	"io"
	"net/http"
	"os"
	"path/filepath"

	"tandem/fault"
	"tandem/internal/blob"
	"tandem/model"
)

// maxManifestBytes is the server's limit.
const maxManifestBytes = 16 << 20

// Push sends the files of an artifact that the server does not have, and makes a
// version of them. The same artifact again gives the same version.
func (c *Client) Push(ctx context.Context, name string, m *model.Manifest, src model.Source) (Version, error) {
	const op = "client.push"
	sent := map[blob.Digest]bool{}
	for _, f := range m.Files {
		if sent[f.Digest] {
			continue
		}
		sent[f.Digest] = true
		if err := c.pushFile(ctx, f, src); err != nil {
			return Version{}, fault.Wrap(err, op, fault.KindOf(err), "sending %s", f.Name).Try(fault.RemedyOf(err))
		}
	}
	header := http.Header{"Content-Type": {"application/json"}}
	var v Version
	err := c.exchange(ctx, op, "POST", modelPath(name)+"/versions", header, m.Encode(), &v)
	return v, err
}

func (c *Client) pushFile(ctx context.Context, f model.File, src model.Source) error {
	const op = "client.pushFile"
	path := api + "/blobs/" + string(f.Digest)
	r, err := c.do(ctx, op, "HEAD", path, nil, nil, -1)
	if err == nil {
		return fault.From(r.Body.Close(), op)
	}
	if fault.KindOf(err) != fault.NotFound {
		return err
	}
	name, err := src(f)
	if err != nil {
		return err
	}
	file, err := os.Open(name)
	if err != nil {
		return fault.From(err, op)
	}
	defer file.Close()
	header := http.Header{"Content-Type": {"application/octet-stream"}}
	// A request with a length of 0 must have no body.
	var body io.Reader = file
	if f.Bytes == 0 {
		body = http.NoBody
	}
	r, err = c.do(ctx, op, "PUT", path, header, body, f.Bytes)
	if err != nil {
		return err
	}
	return fault.From(r.Body.Close(), op)
}

// Manifest reads the manifest of a version, and checks that it is the one that the
// version's digest names.
func (c *Client) Manifest(ctx context.Context, v Version) (*model.Manifest, error) {
	const op = "client.manifest"
	r, err := c.do(ctx, op, "GET", versionPath(v.Model, v.Number)+"/manifest", nil, nil, -1)
	if err != nil {
		return nil, err
	}
	defer r.Body.Close()
	text, err := io.ReadAll(io.LimitReader(r.Body, maxManifestBytes+1))
	if err != nil {
		return nil, fault.From(err, op)
	}
	if got := blob.Sum(text); got != v.Digest {
		return nil, fault.New(op, fault.Corrupt, "the manifest of %s:%d has digest %s, not %s", v.Model, v.Number, got, v.Digest)
	}
	return model.ParseManifest(text)
}

// Pull writes files of an artifact into a directory. Their digests are compared by
// whoever opens the artifact.
func (c *Client) Pull(ctx context.Context, files []model.File, dir string) (model.Source, error) {
	for _, f := range files {
		path, err := model.DirSource(dir)(f) // which also checks the name
		if err != nil {
			return nil, err
		}
		if err := c.pullFile(ctx, f, path); err != nil {
			return nil, fault.Wrap(err, "client.pull", fault.KindOf(err), "fetching %s", f.Name).Try(fault.RemedyOf(err))
		}
	}
	return model.DirSource(dir), nil
}

func (c *Client) pullFile(ctx context.Context, f model.File, path string) (err error) {
	const op = "client.pullFile"
	r, err := c.do(ctx, op, "GET", api+"/blobs/"+string(f.Digest), nil, nil, -1)
	if err != nil {
		return err
	}
	defer r.Body.Close()
	file, err := os.OpenFile(filepath.Clean(path), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return fault.From(err, op)
	}
	_, err = io.Copy(file, io.LimitReader(r.Body, f.Bytes+1))
	return fault.From(errors.Join(err, file.Close()), op)
}
