package tenant

import (
	"slices"

	"tandem/fault"
)

// ID names a tenant.
type ID string

// KeyID names a key; it is not secret.
type KeyID string

// Role says what a key may do.
type Role string

const (
	RoleOwner     Role = "owner"     // everything, keys included
	RoleDeveloper Role = "developer" // models, deployments, inference, its own usage
	RoleUser      Role = "user"      // inference only
)

// Action is a kind of thing that a request does. The list is closed.
type Action uint8

const (
	ActInfer Action = iota
	ActReadModels
	ActWriteModels
	ActDeploy
	ActKeys
	ActUsage // of the key itself; an owner's covers the tenant
)

var actionNames = [...]string{"run models", "read models", "change models", "deploy models", "manage keys", "read usage"}

func (a Action) String() string {
	if int(a) < len(actionNames) {
		return actionNames[a]
	}
	return "do that"
}

// Allows tells whether a key of this role may do a. An unknown role or action is refused.
func (r Role) Allows(a Action) bool {
	switch r {
	case RoleOwner:
		return int(a) < len(actionNames)
	case RoleDeveloper:
		return slices.Contains([]Action{ActInfer, ActReadModels, ActWriteModels, ActDeploy, ActUsage}, a)
	case RoleUser:
		return a == ActInfer
	}
	return false
}

func (r Role) valid() bool {
	return r == RoleOwner || r == RoleDeveloper || r == RoleUser
}

// Principal is who makes a request: an authenticated key.
type Principal struct {
	Tenant ID
	Key    KeyID
	Role   Role
}

// Require returns nil if p may do a, else a Denied error under op.
func (p Principal) Require(a Action, op string) error {
	if p.Role.Allows(a) {
		return nil
	}
	return fault.New(op, fault.Denied, "a key with role %q may not %s", p.Role, a).
		Try("ask an owner for a key with a role that may")
}
