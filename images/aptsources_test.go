//go:build linux

package images

import (
	"path/filepath"
	"slices"
	"testing"
)

func TestSystemMirrors(t *testing.T) {
	needTools(t, tool{aptGet, "apt"})
	tools, err := findTools(tool{aptGet, "apt"})
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name  string
		files map[string]string
		want  []string
	}{
		{"one line", map[string]string{"sources.list": "deb http://a.example/debian bookworm main # c\ndeb-src http://s.example/debian bookworm main\n"},
			[]string{"http://a.example/debian"}},
		{"options", map[string]string{"sources.list": "deb [ arch=amd64 signed-by=/usr/share/keyrings/debian-archive-keyring.gpg ] http://cache.example/d/ trixie main contrib\n"},
			[]string{"http://cache.example/d"}},
		{"a container's", map[string]string{"sources.list.d/debian.sources": `Types: deb
# a comment
URIs: http://a.example/debian
Suites: bookworm bookworm-updates
Components: main
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg

Types: deb
URIs: http://a.example/debian-security
Suites: bookworm-security
Components: main
`}, []string{"http://a.example/debian"}},
		{"others besides", map[string]string{
			"sources.list":               "deb http://tools.example/apt bookworm main\n",
			"sources.list.d/x.list":      "deb [signed-by=/y.gpg] http://y.example/z bookworm stable\n",
			"sources.list.d/b.sources":   "Types: deb deb-src\nURIs: http://b.example/debian/ http://c.example/debian\nSuites: trixie\nComponents: main\n",
			"sources.list.d/off.sources": "Enabled: no\nTypes: deb\nURIs: http://off.example/debian\nSuites: bookworm\nComponents: main\n",
		}, []string{"http://b.example/debian", "http://c.example/debian", "http://tools.example/apt"}},
		{"another's of the same name", map[string]string{"sources.list": "deb http://x.example/linux/debian bookworm stable\ndeb http://d.example/debian/ bookworm main\n"},
			[]string{"http://d.example/debian"}},
		{"none", map[string]string{"sources.list": "# moved\n"}, nil},
		{"broken", map[string]string{"sources.list": "deb [x http://a.example/debian bookworm main\ndeb\ndeb http://a\n"}, nil},
	}
	for _, tt := range tests {
		dir := t.TempDir()
		for name, text := range tt.files {
			if err := writeFile(filepath.Join(dir, name), []byte(text)); err != nil {
				t.Fatal(err)
			}
		}
		got, err := systemMirrors(t.Context(), tools, "bookworm", "-o", "Dir::Etc="+dir, "-o", "Dir::State::lists="+t.TempDir())
		if !slices.Equal(got, tt.want) || (err != nil) != (tt.name == "broken") {
			t.Errorf("%s: %v, want %v (%v)", tt.name, got, tt.want, err)
		}
	}
}
