// Package gateway is the server's door: who may enter, how often, how much.
//
// A request passes, in this order: the mux finds its route; it gets an id; a server
// that drains turns it away; its key says who it is; the role says whether it may; the
// key's share of concurrency has room; the body is bounded in bytes and time. Then the
// handler runs. Whatever it returns is answered in the protocol's own form, counted,
// and logged once. The log has no bodies, keys or query values.
//
// Nothing is open unless its route says so: a route without a key is one that sets
// Public, and a test walks them all.
package gateway
