package config

import (
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"

	"bramble/node/tomlfile"
)

// One file serves all cards of a rack. Settings of one card are in its own tables,
// such as [cards.1a2b.network] or [cards.1a2b.board], for the card whose serial number
// ends in these digits.

const (
	cardsTable = "cards"
	minSerial  = 4  // digits; the host name shows that many of a serial number
	maxSerial  = 16 // digits of a whole serial number
	maxCards   = 256
)

// cardOverlay is the file as the card of one [cards.…] has it.
type cardOverlay struct {
	digits string // of the serial number; lower case
	doc    *ParsedFile
}

// ForCard returns the file as the card with this serial number, in hex digits, has it:
// p itself if the file has no tables for that card.
func (p *ParsedFile) ForCard(serial string) *ParsedFile {
	serial = strings.ToLower(serial)
	for _, c := range p.cards {
		if strings.HasSuffix(serial, c.digits) {
			return c.doc
		}
	}
	return p
}

// LoadCard reads the file of all cards as the card with this serial number has it.
// Relative directories that are written to start at data, which is on the card's
// writable partition.
func LoadCard(path, serial, data string) (*ParsedFile, error) {
	doc, err := loadDocument(path, data, "", true)
	if err != nil {
		return nil, err
	}
	return doc.ForCard(serial), nil
}

// LoadNetwork reads only a card's network from a file with mistakes elsewhere, so that
// the card is reachable and can report them.
func LoadNetwork(path, serial string) (NetworkSettings, error) {
	doc, err := loadDocument(path, "", "network", false)
	if err != nil {
		return NetworkSettings{}, err
	}
	return doc.ForCard(serial).Config.Network, nil
}

// readCards reads the file once more for each card, with the card's keys in place of
// the shared ones.
func (f *fileParser) readCards(cards any, tree map[string]any) []cardOverlay {
	byDigits, ok := cards.(map[string]any)
	if cards == nil {
		return nil
	}
	if !ok {
		f.addError(ErrWrongType, f.lineOf(cardsTable, ""), cardsTable, "", "write [cards.1a2b.network] or another table's name, on a line of its own, and its keys below")
		return nil
	}
	if problem := checkCount(len(byDigits), maxCards, "cards"); problem != "" {
		f.addError(ErrBadValue, f.lineOf(cardsTable, ""), cardsTable, "", problem)
		return nil
	}
	var list []cardOverlay
	for _, name := range slices.Sorted(maps.Keys(byDigits)) {
		id := cardsTable + "." + name
		line := f.lineOf(cardsTable, name)
		digits := strings.ToLower(name)
		if len(digits) < minSerial || len(digits) > maxSerial || strings.Trim(digits, "0123456789abcdef") != "" {
			f.addError(ErrUnknownKey, line, id, "", fmt.Sprintf("name a card by the last %d to %d digits of its serial number, 0 to 9 and a to f, such as [cards.1a2b.network]", minSerial, maxSerial))
			continue
		}
		own, ok := byDigits[name].(map[string]any)
		if !ok {
			f.addError(ErrWrongType, line, id, "", "write ["+id+".network] or another table's name, on a line of its own, and its keys below")
			continue
		}
		twin := slices.IndexFunc(list, func(c cardOverlay) bool {
			return strings.HasSuffix(c.digits, digits) || strings.HasSuffix(digits, c.digits)
		})
		if twin >= 0 {
			f.addError(ErrBadValue, line, id, "", fmt.Sprintf("this and [cards.%s] can mean the same card; write more digits, or merge the two", list[twin].digits))
			continue
		}
		list = append(list, cardOverlay{digits, f.readCard(id, own, tree)})
	}
	return list
}

// readCard reads the file as one card has it. id is the card's table, "cards.1a2b".
func (f *fileParser) readCard(id string, own, tree map[string]any) *ParsedFile {
	overlay := newFileParser(f.file, f.dataDir)
	overlay.lines = maps.Clone(f.lines)
	merged := maps.Clone(tree)
	written := map[string]bool{}
	for _, name := range slices.Sorted(maps.Keys(own)) {
		table, isTable := own[name].(map[string]any)
		shared, _ := tree[name].(map[string]any)
		line := f.lineOf(id+"."+name, "")
		switch {
		case name == "site" || name == cardsTable || !isTable:
			f.addError(ErrWrongType, max(line, f.lineOf(cardsTable, strings.TrimPrefix(id, cardsTable+"."))), id, name,
				"write the card's keys in a table, such as ["+id+".network]; [[site]] is the same on all cards")
			continue
		case shared == nil:
			shared = map[string]any{}
		}
		both := maps.Clone(shared)
		maps.Copy(both, table)
		merged[name] = both
		overlay.lines[name] = line
		written[name+"."] = true
		for key := range table {
			overlay.lines[tomlfile.Join(name, key)] = f.lineOf(id+"."+name, key)
			written[name+"."+key] = true
		}
	}
	doc := overlay.buildConfig(merged)
	for _, e := range overlay.errors {
		if written[e.Table+"."+e.Key] {
			e.Table = strings.TrimSuffix(id+"."+e.Table, ".")
			f.errors = append(f.errors, e)
		}
	}
	return doc
}

// underData moves a relative directory that is written to onto the card's writable
// partition.
func underData(data, dir string) string {
	if data == "" || dir == "" || filepath.IsAbs(dir) {
		return dir
	}
	return filepath.Join(data, dir)
}
