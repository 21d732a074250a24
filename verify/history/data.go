package history

import (
	"maps"
	"strings"
)

// The keys that programs use.
const (
	keyA         = iota // set to values that are set once only
	keyB                // as keyA
	keyFlag             // set to "on" or "off": values that may be there already
	keyLog              // appended to, by Update
	keyCode0            // set once, and taken
	keyCode1            // as keyCode0
	keyFlash            // flash messages
	keyLabel            // the label, which is no value: Clear keeps it, and alone it makes no session
	keyAttribute        // an attribute, appended to by Update: Clear keeps it, Login drops it
	keyPublic           // a public attribute, set to values that are set once only
	keys
)

var keyNames = [keys]string{"a", "b", "flag", "log", "code0", "code1", "_flashes", "label", "attribute", "public"}

// data is what a session holds: a text for each key, "" if the key is absent. Lists are joined by spaces.
type data [keys]string

func (d data) String() string {
	var b strings.Builder
	for i, v := range d {
		if v != "" {
			b.WriteString(" " + keyNames[i] + "=[" + v + "]")
		}
	}
	return "{" + strings.TrimSpace(b.String()) + "}"
}

// changeKind is what a change does to its key.
type changeKind uint8

const (
	put    changeKind = iota // Set
	remove                   // Delete, and Pop
	extend                   // Update and Flash: append one element
	drop                     // Flashes: remove the first n elements, or the key if there are no more
	wipe                     // Clear
	leave                    // Login, which drops attributes
)

// change is one change to a session, as the model applies it.
type change struct {
	kind  changeKind
	key   int
	value string
	n     int
}

func (c change) String() string {
	switch c.kind {
	case put:
		return keyNames[c.key] + "=" + c.value
	case remove:
		return "-" + keyNames[c.key]
	case extend:
		return keyNames[c.key] + "+=" + c.value
	case drop:
		return keyNames[c.key] + "-first"
	case leave:
		return "-attributes"
	}
	return "clear"
}

func apply(changes []change, d data) data {
	for _, c := range changes {
		switch c.kind {
		case put:
			d[c.key] = c.value
		case remove:
			d[c.key] = ""
		case extend:
			d[c.key] = strings.TrimSpace(d[c.key] + " " + c.value)
		case drop:
			list := strings.Fields(d[c.key])
			d[c.key] = strings.Join(list[min(c.n, len(list)):], " ")
		case wipe:
			d = data{keyLabel: d[keyLabel], keyAttribute: d[keyAttribute], keyPublic: d[keyPublic]}
		case leave:
			d[keyAttribute], d[keyPublic] = "", ""
		}
	}
	return d
}

// empty reports whether there are neither values nor attributes.
func (d data) empty() bool { return d == data{keyLabel: d[keyLabel]} }

// withoutAttributes leaves out what was done to attributes.
func withoutAttributes(changes []change) []change {
	return without(without(changes, keyAttribute), keyPublic)
}

// without leaves out what was done to key.
func without(changes []change, key int) []change {
	var rest []change
	for _, c := range changes {
		if c.kind == wipe || c.kind == leave || c.key != key {
			rest = append(rest, c)
		}
	}
	return rest
}

func touches(changes []change, key int) bool {
	for _, c := range changes {
		if c.kind == wipe || c.key == key {
			return true
		}
	}
	return false
}

// repeatable reports whether changes may be applied twice, as a save does whose first answer was lost. What follows a
// Set or Clear of the same request depends on nothing stored, also an Update.
func repeatable(changes []change) bool {
	exact, plain := map[int]bool{}, map[int]bool{}
	wiped := false
	for _, c := range changes {
		switch {
		case c.kind == wipe:
			wiped = true
			maps.DeleteFunc(exact, func(key int, _ bool) bool { return key != keyAttribute })
		case c.kind == leave:
			plain[keyAttribute] = true
			delete(exact, keyAttribute)
		case c.kind == put || c.kind == remove:
			plain[c.key] = true
			delete(exact, c.key)
		case !plain[c.key] && (!wiped || c.key == keyAttribute):
			exact[c.key] = true
		}
	}
	return len(exact) == 0
}
