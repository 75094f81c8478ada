package dnscache

import "testing"

// newTable returns a table with nodes of the given keys, all of them with the hash of the first.
func newTable(keys ...Key) (t *table[string], nodes []*node[string]) {
	t = &table[string]{}
	t.init(len(keys))
	for _, k := range keys {
		n := &node[string]{key: k, hash: t.hash(keys[0])}
		t.insert(n)
		nodes = append(nodes, n)
	}
	return t, nodes
}

// Keys with the same hash differ by name, type and epoch.
func TestSameHash(t *testing.T) {
	keys := []Key{{"a.example", typeA, 1}, {"a.example", typeAAAA, 1}, {"a.example", typeA, 2}, {"b.example", typeA, 1}}
	table, nodes := newTable(keys...)
	for _, name := range []string{"a.example", "A.example"} {
		if n := table.find(Key{name, typeA, 1}); n != nodes[0] {
			t.Errorf("find(%s) = %+v, want %+v", name, n, nodes[0])
		}
	}
	table.remove(nodes[0])
	for _, name := range []string{"a.example", "A.example"} {
		if n := table.find(Key{name, typeA, 1}); n != nil {
			t.Errorf("find(%s) = %+v, want nothing", name, n)
		}
	}
}

// A reader that stands on a node which is removed or replaced still gets to those behind it.
func TestReaderOnRemovedNode(t *testing.T) {
	table, nodes := newTable(key("last"), key("second"), key("first"))
	last, second, first := nodes[0], nodes[1], nodes[2]
	table.remove(second)
	if first.chain.Load() != last || second.chain.Load() != last {
		t.Error("the nodes before the last do not lead to it after a removal")
	}
	other := &node[string]{key: first.key, hash: first.hash}
	table.replace(first, other)
	if first.chain.Load() != last || other.chain.Load() != last {
		t.Error("the nodes before the last do not lead to it after a replacement")
	}
}
