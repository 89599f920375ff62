package admin

import (
	"errors"
	"io"
	"net/http"
	"strconv"

	"tandem/fault"
	"tandem/internal/blob"
	"tandem/internal/registry"
	"tandem/internal/tenant"
)

// Models lists the tenant's models.
func (s *Service) Models(w http.ResponseWriter, r *http.Request, p tenant.Principal) error {
	all, err := s.registry.Models(r.Context(), p.Tenant)
	if err != nil {
		return err
	}
	return send(w, http.StatusOK, listOf(all))
}

// Model describes one model.
func (s *Service) Model(w http.ResponseWriter, r *http.Request, p tenant.Principal) error {
	m, err := s.registry.Model(r.Context(), p.Tenant, r.PathValue("model"))
	if err != nil {
		return err
	}
	return send(w, http.StatusOK, m)
}

// DeleteModel deletes a model that is not deployed.
func (s *Service) DeleteModel(w http.ResponseWriter, r *http.Request, p tenant.Principal) error {
	if err := s.registry.DeleteModel(r.Context(), p.Tenant, r.PathValue("model")); err != nil {
		return err
	}
	return sendNothing(w)
}

// CreateVersion makes a version of a manifest, whose bytes are the body. The same
// manifest gives the same version.
func (s *Service) CreateVersion(w http.ResponseWriter, r *http.Request, p tenant.Principal) error {
	if err := wantMedia(r, "application/json"); err != nil {
		return err
	}
	manifest, err := io.ReadAll(r.Body)
	if err != nil {
		return fault.From(err, "admin.createVersion")
	}
	v, err := s.registry.CreateVersion(r.Context(), p.Tenant, r.PathValue("model"), manifest)
	if err != nil {
		return err
	}
	return send(w, http.StatusCreated, v)
}

// Versions lists a model's versions.
func (s *Service) Versions(w http.ResponseWriter, r *http.Request, p tenant.Principal) error {
	all, err := s.registry.Versions(r.Context(), p.Tenant, r.PathValue("model"))
	if err != nil {
		return err
	}
	return send(w, http.StatusOK, listOf(all))
}

// version finds the version that the path names.
func (s *Service) version(r *http.Request, p tenant.Principal) (registry.Version, error) {
	n, err := number(r)
	if err != nil {
		return registry.Version{}, err
	}
	return s.registry.Version(r.Context(), p.Tenant, r.PathValue("model"), n)
}

// Version describes one version.
func (s *Service) Version(w http.ResponseWriter, r *http.Request, p tenant.Principal) error {
	v, err := s.version(r, p)
	if err != nil {
		return err
	}
	return send(w, http.StatusOK, v)
}

// Manifest gives the manifest of a version, byte for byte.
func (s *Service) Manifest(w http.ResponseWriter, r *http.Request, p tenant.Principal) error {
	v, err := s.version(r, p)
	if err != nil {
		return err
	}
	b, err := s.registry.ManifestBytes(r.Context(), p.Tenant, v)
	if err != nil {
		return err
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Content-Length", strconv.Itoa(len(b)))
	_, err = w.Write(b)
	return fault.From(err, "admin.manifest")
}

// DeleteVersion deletes a version that is not deployed.
func (s *Service) DeleteVersion(w http.ResponseWriter, r *http.Request, p tenant.Principal) error {
	n, err := number(r)
	if err != nil {
		return err
	}
	if err := s.registry.DeleteVersion(r.Context(), p.Tenant, r.PathValue("model"), n); err != nil {
		return err
	}
	return sendNothing(w)
}

// PutBlob stores bytes under their digest. Sending the same bytes again changes nothing.
func (s *Service) PutBlob(w http.ResponseWriter, r *http.Request, p tenant.Principal) error {
	d, err := blob.ParseDigest(r.PathValue("digest"))
	if err != nil {
		return err
	}
	err = s.registry.PutBlob(r.Context(), p.Tenant, d, r.Body, s.maxBlobBytes)
	if err != nil {
		return err
	}
	w.WriteHeader(http.StatusCreated)
	return nil
}

// HasBlob answers 200 if the tenant need not send these bytes, else 404.
func (s *Service) HasBlob(w http.ResponseWriter, r *http.Request, p tenant.Principal) error {
	d, err := blob.ParseDigest(r.PathValue("digest"))
	if err != nil {
		return err
	}
	there, err := s.registry.HasBlob(r.Context(), p.Tenant, d)
	if err != nil {
		return err
	}
	if !there {
		return fault.New("admin.hasBlob", fault.NotFound, "there are no bytes with digest %s", d)
	}
	w.WriteHeader(http.StatusOK)
	return nil
}

// Blob gives bytes that the tenant has sent. Ranges are honoured, so that a download
// can be resumed.
func (s *Service) Blob(w http.ResponseWriter, r *http.Request, p tenant.Principal) (err error) {
	d, err := blob.ParseDigest(r.PathValue("digest"))
	if err != nil {
		return err
	}
	f, _, err := s.registry.OpenBlob(r.Context(), p.Tenant, d)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	info, err := f.Stat()
	if err != nil {
		return fault.From(err, "admin.blob")
	}
	w.Header().Set("Content-Type", "application/octet-stream")
	w.Header().Set("ETag", `"`+string(d)+`"`)
	http.ServeContent(w, r, "", info.ModTime(), f)
	return nil
}
