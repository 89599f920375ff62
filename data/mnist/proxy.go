package mnist

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/mod/module"

	"tandem/fault"
)

// stallLimit is how long a proxy may send nothing.
const stallLimit = 30 * time.Second

// proxy is an entry of a GOPROXY list.
type proxy struct {
	address string // a URL, "direct" or "off"
	always  bool   // go on after any failure ("|"), not only if it lacks the module (",")
}

// parseProxies parses a GOPROXY list as the go command does.
func parseProxies(list string) []proxy {
	var proxies []proxy
	for list != "" {
		p := proxy{address: list}
		if i := strings.IndexAny(list, ",|"); i >= 0 {
			p = proxy{address: list[:i], always: list[i] == '|'}
			list = list[i+1:]
		} else {
			list = ""
		}
		p.address = strings.TrimSpace(p.address)
		if p.address == "" {
			continue
		}
		a := p.address
		if strings.ContainsAny(a, ".:/") && !strings.Contains(a, ":/") && !filepath.IsAbs(a) && !path.IsAbs(a) {
			p.address = "https://" + a
		}
		proxies = append(proxies, p)
		if a == "direct" || a == "off" {
			break
		}
	}
	return proxies
}

const proxyRemedy = "set GOPROXY to a module proxy that is in reach, such as https://proxy.golang.org, or use a program built by make build, which has the set in it"

// download gets the module's zip from the first proxy that has it. The bytes
// aren't verified yet.
func download(ctx context.Context, env goEnv, opt Options) (zip []byte, from string, err error) {
	if module.MatchPrefixPatterns(env.noProxy, Module) {
		return nil, "", fault.New(op, fault.Denied, "GONOPROXY or GOPRIVATE, %q, forbids to ask a proxy for %s", env.noProxy, Module).
			Try(proxyRemedy)
	}
	proxies := parseProxies(env.proxy)
	if len(proxies) == 0 {
		return nil, "", fault.New(op, fault.Invalid, "GOPROXY %q names no proxy", env.proxy).Try(proxyRemedy)
	}
	var failed []error
	kind := fault.NotFound // that of the worst failure
	for _, p := range proxies {
		zip, from, err := fetch(ctx, p.address, opt)
		if err == nil {
			return zip, from, nil
		}
		if ctx.Err() != nil {
			return nil, "", fault.Wrap(context.Cause(ctx), op, fault.KindOf(ctx.Err()), "the download of the MNIST set was stopped")
		}
		failed = append(failed, err)
		lacks := fault.KindOf(err) == fault.NotFound
		if !lacks {
			kind = fault.KindOf(err)
		}
		if !lacks && !p.always {
			break
		}
	}
	return nil, "", fault.New(op, kind, "the MNIST set could not be downloaded: %s", joinMessages(failed)).Try(proxyRemedy)
}

func joinMessages(errs []error) string {
	texts := make([]string, len(errs))
	for i, err := range errs {
		texts[i] = err.Error()
	}
	return strings.Join(texts, "; ")
}

// fetch gets the zip from one proxy. NotFound means that the proxy lacks it.
func fetch(ctx context.Context, address string, opt Options) (zip []byte, from string, err error) {
	switch address {
	case "off":
		return nil, "", fault.New("", fault.Denied, "GOPROXY is off")
	case "direct":
		return nil, "", fault.New("", fault.Unsupported, "GOPROXY says direct, but version control is not spoken here")
	}
	base, err := url.Parse(address)
	if err != nil {
		// Not the error's own text: it may show a password.
		return nil, "", fault.New("", fault.Invalid, "an entry of GOPROXY is not a URL")
	}
	full := base.JoinPath(zipPath())
	switch base.Scheme {
	case "http", "https":
		zip, err = get(ctx, full, opt)
	case "file":
		zip, err = readFile(filepath.FromSlash(full.Path))
	default:
		return nil, "", fault.New("", fault.Invalid, "the entry %s of GOPROXY is not an http, https or file URL", base.Redacted())
	}
	return zip, full.Redacted(), err
}

// readFile reads a zip of the module cache, of our own, or of a proxy that's a
// folder.
func readFile(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fault.From(err, op)
	}
	defer f.Close()
	return readLimited(f)
}

// readLimited reads no more than it takes to see that a zip is too large.
func readLimited(r io.Reader) ([]byte, error) { return io.ReadAll(io.LimitReader(r, zipLimitBytes+1)) }

// get downloads with a limit on bytes, and on the time that nothing comes.
func get(ctx context.Context, from *url.URL, opt Options) ([]byte, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	limit := cmp.Or(opt.stall, stallLimit)
	stalled := time.AfterFunc(limit, func() { cancel(fmt.Errorf("nothing came for %v", limit)) })
	defer stalled.Stop()

	req, err := http.NewRequestWithContext(ctx, http.MethodGet, from.String(), nil)
	if err != nil {
		return nil, fault.Wrap(err, "", fault.Invalid, "")
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, broken(ctx, from, err)
	}
	defer resp.Body.Close()
	switch {
	case resp.StatusCode == http.StatusNotFound, resp.StatusCode == http.StatusGone:
		return nil, fault.New("", fault.NotFound, "%s: %s", from.Redacted(), resp.Status)
	case resp.StatusCode != http.StatusOK:
		return nil, fault.New("", fault.Unavailable, "%s: %s", from.Redacted(), resp.Status)
	case resp.ContentLength > zipLimitBytes:
		return nil, fault.New("", fault.TooLarge, "%s is of %d bytes, more than %d", from.Redacted(), resp.ContentLength, zipLimitBytes)
	}
	body := &watched{r: resp.Body, total: resp.ContentLength, progress: opt.Progress, stalled: stalled, limit: limit}
	b, err := readLimited(body)
	if err != nil {
		return nil, broken(ctx, from, err)
	}
	return b, nil
}

// broken describes a download that failed on its way.
func broken(ctx context.Context, from *url.URL, err error) error {
	if cause := context.Cause(ctx); cause != nil {
		err = cause
	}
	if e, ok := errors.AsType[*url.Error](err); ok {
		err = e.Err // its own text would show the address again
	}
	kind := fault.KindOf(err)
	if kind == fault.Internal {
		kind = fault.Unavailable
	}
	return fault.Wrap(err, "", kind, "%s", from.Redacted())
}

// watched reads a body, tells of its progress, and puts off the end by stall.
type watched struct {
	r        io.Reader
	bytes    int64
	total    int64 // -1 if not known
	progress func(bytes, total int64)
	stalled  *time.Timer
	limit    time.Duration
}

func (w *watched) Read(p []byte) (int, error) {
	n, err := w.r.Read(p)
	w.stalled.Reset(w.limit)
	w.bytes += int64(n)
	if n > 0 && w.progress != nil {
		w.progress(w.bytes, w.total)
	}
	return n, err
}
