package config

import (
	"fmt"
	"strings"
)

// suggestKey returns the end of the message about an unknown key: what was probably
// meant, or which keys there are.
func suggestKey(in, key string) string {
	var here, elsewhere []string
	for _, s := range allKeys() {
		if s.table == in {
			here = append(here, s.key)
		} else if s.key == key {
			elsewhere = append(elsewhere, "["+s.table+"]")
		}
	}
	if near, ok := Nearest(key, here); ok {
		return fmt.Sprintf("; did you mean %q?", near)
	}
	if len(elsewhere) > 0 {
		return "; it belongs under " + strings.Join(elsewhere, " or ")
	}
	if len(here) > 0 {
		return fmt.Sprintf("; [%s] has %s", in, strings.Join(here, ", "))
	}
	return `; "bramble config" prints all keys`
}

func suggestTable(name string) string {
	var names []string
	for _, t := range tableSpecs() {
		names = append(names, t.name)
	}
	if near, ok := Nearest(name, names); ok {
		return fmt.Sprintf("; did you mean [%s]?", near)
	}
	return "; there are [" + strings.Join(names, "], [") + "]"
}
