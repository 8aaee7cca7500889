package images

import (
	"cmp"
	"context"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
)

// maxMirrors limits the mirrors that are tried for a package.
const maxMirrors = 4

// systemMirrors returns the Debian mirrors that the system's apt uses, the likeliest first. A wrong one does no harm:
// packages are checked by their hash. options are apt's.
func systemMirrors(ctx context.Context, t toolbox, suite string, options ...string) ([]string, error) {
	// Without the lists of packages, which a container lacks, apt tells its sources only so.
	out, err := t.runWithEnv(ctx, append(os.Environ(), "LC_ALL=C"), aptGet, append(options, "update", "--print-uris")...)
	if err != nil {
		return nil, err
	}
	ranks := map[string]int{}
	for _, match := range regexp.MustCompile(`(?m)^'(\S+?)/+dists/([^/']+)/main/binary-`).FindAllStringSubmatch(string(out), -1) {
		if strings.Contains(match[2], "security") {
			continue
		}
		for _, uri := range expandMirror(match[1]) {
			rank := 1
			if uri = strings.TrimRight(uri, "/"); strings.HasSuffix(uri, "/debian") {
				rank += 2
			}
			if match[2] == suite {
				rank++
			}
			ranks[uri] = max(ranks[uri], rank)
		}
	}
	mirrors := slices.Sorted(maps.Keys(ranks))
	slices.SortStableFunc(mirrors, func(a, b string) int { return cmp.Compare(ranks[b], ranks[a]) })
	return mirrors[:min(len(mirrors), maxMirrors)], nil
}

// expandMirror reads the file of mirrors that Debian's cloud images name.
func expandMirror(uri string) []string {
	name, found := strings.CutPrefix(uri, "mirror+file:")
	if !found {
		return []string{uri}
	}
	text, err := os.ReadFile("/" + strings.TrimLeft(name, "/"))
	if err != nil {
		return nil
	}
	var uris []string
	for line := range strings.Lines(string(text)) {
		if words := strings.Fields(line); len(words) > 0 && !strings.HasPrefix(words[0], "#") {
			uris = append(uris, words[0])
		}
	}
	return uris
}
