package gateway

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"syscall"
	"time"

	"tandem/fault"
	"tandem/internal/tenant"
)

// Limits of a connection.
const (
	readHeaderTimeout = 10 * time.Second
	idleTimeout       = 2 * time.Minute
	writeTimeout      = 5 * time.Minute // from the head of a request; routes that take longer say so
	maxHeaderBytes    = 64 << 10
	drainPoll         = 5 * time.Millisecond
)

// Insecure is the permission to serve without keys. It exists only for addresses that
// other machines cannot reach.
type Insecure struct{ principal tenant.Principal }

// OpenAs lets everybody in as the owner of tenant t, if addr is a loopback address.
func OpenAs(t tenant.ID, addr string) (*Insecure, error) {
	refuse := func() (*Insecure, error) {
		return nil, fault.New("gateway.openAs", fault.Denied, "without keys the server listens on this machine only, and %q can be reached from others", addr).
			Try("use --http 127.0.0.1:8080, or leave out --insecure and send a key")
	}
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, badAddress(addr, err)
	}
	// Names are not resolved: what localhost means can change after the check. It is
	// taken for what it means everywhere, and Listen checks the address it got.
	if ip, err := netip.ParseAddr(host); host != "localhost" && (err != nil || !ip.Unmap().IsLoopback()) {
		return refuse()
	}
	return &Insecure{tenant.Principal{Tenant: t, Key: "insecure", Role: tenant.RoleOwner}}, nil
}

// admit keeps web pages out: a browser on this machine reaches loopback addresses for
// any page that asks, by a request across origins or by a name that resolves to them.
func (i *Insecure) admit(r *http.Request) (tenant.Principal, error) {
	host, _, err := net.SplitHostPort(r.Host)
	if err != nil {
		host = strings.Trim(r.Host, "[]")
	}
	ip, err := netip.ParseAddr(host)
	if host != "localhost" && (err != nil || !ip.Unmap().IsLoopback()) || http.NewCrossOriginProtection().Check(r) != nil {
		return tenant.Principal{}, fault.New("gateway.enter", fault.Denied, "without keys the server answers requests to localhost from this machine's programs only").
			Try("use a localhost URL, or start the server with keys")
	}
	return i.principal, nil
}

// Server is a gateway with a listener.
type Server struct {
	gateway  *Gateway
	listener net.Listener
	http     *http.Server
}

// Listen takes the address. The server answers from Serve on.
func Listen(ctx context.Context, addr string, g *Gateway) (*Server, error) {
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", addr)
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return nil, fault.New("gateway.listen", fault.Conflict, "the address %s is taken by another program", addr).
			Try("stop that program, or choose another address with --http")
	case errors.Is(err, syscall.EACCES):
		return nil, fault.New("gateway.listen", fault.Denied, "the system does not let this program listen on %s", addr).
			Try("choose a port above 1023 with --http")
	case err != nil:
		return nil, badAddress(addr, err)
	}
	if a, ok := l.Addr().(*net.TCPAddr); g.config.Insecure != nil && (!ok || !a.IP.IsLoopback()) {
		return nil, errors.Join(fault.New("gateway.listen", fault.Denied, "without keys the server listens on this machine only, and %v can be reached from others", l.Addr()).
			Try("leave out --insecure and send a key"), l.Close())
	}
	return &Server{gateway: g, listener: l, http: &http.Server{
		Handler: g, ReadHeaderTimeout: readHeaderTimeout, IdleTimeout: idleTimeout, WriteTimeout: writeTimeout,
		MaxHeaderBytes: maxHeaderBytes, ErrorLog: slog.NewLogLogger(g.config.Log.Handler(), slog.LevelWarn),
	}}, nil
}

func badAddress(addr string, err error) error {
	return fault.Wrap(err, "gateway.listen", fault.Invalid, "cannot listen on %q", addr).Try("write --http HOST:PORT, such as 127.0.0.1:8080")
}

// Addr is the address that the server has got.
func (s *Server) Addr() string { return s.listener.Addr().String() }

// Serve answers until Drain or Close.
func (s *Server) Serve() error {
	if err := s.http.Serve(s.listener); !errors.Is(err, http.ErrServerClosed) {
		return fault.From(err, "gateway.serve")
	}
	return nil
}

// Drain turns readiness to 503 and new requests away, lets the requests in flight
// finish, and then closes. The listener stays open meanwhile, so that whoever asks for
// readiness hears the answer. When ctx ends first, connections are cut.
func (s *Server) Drain(ctx context.Context) error {
	s.gateway.draining.Store(true)
	tick := time.NewTicker(drainPoll)
	defer tick.Stop()
	for s.gateway.inFlight.Load() > 0 {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return errors.Join(fault.Wrap(ctx.Err(), "gateway.drain", fault.Deadline, "%d requests did not finish", s.gateway.inFlight.Load()), s.http.Close())
		}
	}
	if err := s.http.Shutdown(ctx); err != nil {
		return errors.Join(fault.From(err, "gateway.drain"), s.http.Close())
	}
	return nil
}

// Close cuts every connection.
func (s *Server) Close() error { return fault.From(s.http.Close(), "gateway.close") }
