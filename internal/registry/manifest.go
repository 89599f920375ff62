package registry

import (
	"encoding/json"

	"tandem/fault"
	"tandem/model"
)

// parseManifest stands in until model.ParseManifest is there.
func parseManifest(b []byte) (*model.Manifest, error) {
	var m model.Manifest
	if err := json.Unmarshal(b, &m); err != nil {
		return nil, fault.Wrap(err, "registry.parseManifest", fault.Invalid, "the manifest is not valid JSON")
	}
	if m.Format != model.FormatVersion {
		return nil, fault.New("registry.parseManifest", fault.Unsupported, "manifest format %d", m.Format)
	}
	return &m, nil
}
