package onnx

import (
	"math"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/encoding/protowire"
)

// TestListsOfAttributes: elements in fields of their own, in packed fields and with
// long tags, the three lists mixed, are read as what was written.
func TestListsOfAttributes(t *testing.T) {
	rng := rand.New(rand.NewPCG(31, 32))
	for range 300 {
		var want rawAttr
		var msg []byte
		tag := func(num protowire.Number, typ protowire.Type) {
			if msg = protowire.AppendTag(msg, num, typ); rng.IntN(9) == 0 { // a byte more than it takes
				msg[len(msg)-1] |= 0x80
				msg = append(msg, 0)
			}
		}
		for range rng.IntN(9) {
			kind, packed, n := rng.IntN(3), rng.IntN(3) == 0, rng.IntN(12)
			var list []byte
			for range n {
				switch kind {
				case 0:
					v := int64(rng.Uint64()) >> rng.IntN(64)
					want.ints = append(want.ints, v)
					if list = protowire.AppendVarint(list, uint64(v)); !packed {
						tag(attrInts, protowire.VarintType)
						msg = protowire.AppendVarint(msg, uint64(v))
					}
				case 1:
					v := rng.Float32()
					want.floats = append(want.floats, v)
					if list = protowire.AppendFixed32(list, math.Float32bits(v)); !packed {
						tag(attrFloats, protowire.Fixed32Type)
						msg = protowire.AppendFixed32(msg, math.Float32bits(v))
					}
				case 2:
					v := strings.Repeat("ab", rng.IntN(3)*rng.IntN(60)) + string(rune('a'+rng.IntN(7)))
					want.strings = append(want.strings, v)
					tag(attrStrings, protowire.BytesType)
					msg = protowire.AppendString(msg, v)
				}
			}
			if packed && kind < 2 {
				tag([]protowire.Number{attrInts, attrFloats}[kind], protowire.BytesType)
				msg = protowire.AppendBytes(msg, list)
			}
		}
		got, err := parseAttr(msg)
		if err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(got.ints, want.ints) || !slices.Equal(got.floats, want.floats) || !slices.Equal(got.strings, want.strings) {
			t.Fatalf("%v, want %v", got, want)
		}
		for i := range msg {
			part, err := parseAttr(msg[:i]) // an error, or what comes before the cut
			if err == nil && (!prefix(got.ints, part.ints) || !prefix(got.floats, part.floats) || !prefix(got.strings, part.strings)) {
				t.Fatalf("cut to %d of %d bytes: %v, of %v", i, len(msg), part, got)
			}
		}
	}
}

func prefix[T any](all, part []T) bool {
	return len(part) <= len(all) && (len(part) == 0 || reflect.DeepEqual(all[:len(part)], part))
}

// TestDamagedListIsRefused: what ends a run is what the error tells about.
func TestDamagedListIsRefused(t *testing.T) {
	long := strings.Repeat("\xff", 11)
	for name, msg := range map[string]string{
		"field 8 cannot be read":  "\x40\x01\x40\x02\x40" + long,
		"field 7 cannot be read":  "\x3d\x00\x00\x00\x00\x3d\x00\x00\x00",
		"field 9 cannot be read":  "\x4a\x01a\x4a\x05b",
		"field 8 has wire type 5": "\x40\x01\x45\x00\x00\x00\x00",
		"field 7 has wire type 0": "\x3d\x00\x00\x00\x00\x38\x01",
		"field 9 has wire type 0": "\x4a\x01a\x48\x01",
	} {
		if _, err := parseAttr([]byte(msg)); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%q: %v, want %s", msg, err, name)
		}
	}
}
