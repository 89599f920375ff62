package main

import (
	"runtime"
	"runtime/debug"

	"tandem/kernel"
)

// release is the version that the next tag will have.
const release = "0.1.0"

// programVersion is the release, with the commit that the program was built from.
func programVersion() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return release
	}
	revision, changed := "", ""
	for _, s := range info.Settings {
		switch {
		case s.Key == "vcs.revision":
			revision = "+" + s.Value[:min(len(s.Value), 12)]
		case s.Key == "vcs.modified" && s.Value == "true":
			changed = ".changed"
		}
	}
	return release + revision + changed
}

// versionCmd is `tandem version`.
type versionCmd struct{}

// Run shows the version and what the processor can do.
func (versionCmd) Run(a *app) error {
	if a.json {
		return a.emit(struct {
			Version string `json:"version"`
			Go      string `json:"go"`
			OS      string `json:"os"`
			Arch    string `json:"arch"`
			ISA     string `json:"isa"`
		}{programVersion(), runtime.Version(), runtime.GOOS, runtime.GOARCH, kernel.Detect().String()})
	}
	a.say("tandem %s (%s, %s/%s, instructions: %s)", programVersion(), runtime.Version(), runtime.GOOS, runtime.GOARCH, kernel.Detect())
	return nil
}
