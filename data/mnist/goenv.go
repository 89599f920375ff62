package mnist

import (
	"cmp"
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"time"
)

// defaultProxy is that of the go command, less "direct": version control isn't
// spoken here.
const defaultProxy = "https://proxy.golang.org"

// goEnv is what the go command would go by.
type goEnv struct {
	proxy       string // as in GOPROXY
	noProxy     string // as in GONOPROXY
	moduleCache string // "" if there's none
}

// readGoEnv takes each value from the options, the environment, the go command if
// there's one, and the go command's defaults, in this order.
func readGoEnv(ctx context.Context, opt Options) goEnv {
	env := goEnv{
		proxy:       cmp.Or(opt.Proxy, os.Getenv("GOPROXY")),
		noProxy:     cmp.Or(os.Getenv("GONOPROXY"), os.Getenv("GOPRIVATE")),
		moduleCache: cmp.Or(opt.ModuleCache, os.Getenv("GOMODCACHE")),
	}
	if env.proxy == "" || env.moduleCache == "" {
		said := askGo(ctx)
		env.proxy = cmp.Or(env.proxy, said["GOPROXY"])
		env.noProxy = cmp.Or(env.noProxy, said["GONOPROXY"])
		env.moduleCache = cmp.Or(env.moduleCache, said["GOMODCACHE"])
	}
	if opt.Proxy != "" {
		env.noProxy = "" // the caller has named the proxy for this very module
	}
	env.proxy = cmp.Or(env.proxy, defaultProxy)
	if env.moduleCache == "" {
		env.moduleCache = defaultModuleCache()
	}
	return env
}

// askGo asks the go command, which also knows the user's settings file. Without
// one, or from one that fails, there's no answer: the defaults stand.
func askGo(ctx context.Context) map[string]string {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, "go", "env", "-json", "GOPROXY", "GONOPROXY", "GOMODCACHE")
	// Neither a module nor a toolchain that it asks for has a say in this.
	cmd.Dir = os.TempDir()
	cmd.Env = append(os.Environ(), "GOWORK=off", "GOTOOLCHAIN=local")
	out, err := cmd.Output()
	said := map[string]string{}
	if err != nil || json.Unmarshal(out, &said) != nil {
		return nil
	}
	return said
}

func defaultModuleCache() string {
	if list := filepath.SplitList(os.Getenv("GOPATH")); len(list) > 0 && list[0] != "" {
		return filepath.Join(list[0], "pkg", "mod")
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return ""
	}
	return filepath.Join(home, "go", "pkg", "mod")
}
