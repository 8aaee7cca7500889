package main

import (
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"bramble/cluster/durable"
	"bramble/images/cardinit"
	"bramble/node"
	"bramble/node/config"
)

const (
	secretsFormat   = "bramble rack secrets 1" // the purpose of a signature
	maxSecretsBytes = 32 << 10                 // of a signed secretsStatement: 33 accounts and 5 keys
	secretsFileMode = 0o600
)

// secretsState is what a board tells everybody: a tag does not reveal its key (node.RackTags).
type secretsState struct {
	Board     string   `json:"board"`
	Tags      []string `json:"tags"`      // of its rack keys
	Challenge string   `json:"challenge"` // for the next statement, new at each start; "": it restarts
}

// secretsStatement is what the owner of an update key signs. One board accepts it, once. Without keys it is
// a question, which changes nothing and is answered with ownSecrets.
type secretsStatement struct {
	Format    string `json:"format"`
	Key       string `json:"key"` // the public one
	Board     string `json:"board"`
	Challenge string `json:"challenge"`
	config.Secrets
}

// ownSecrets are the names of what a board's files have.
type ownSecrets struct {
	Accounts []string `json:"accounts"` // "" is [console] password
	Others   []string `json:"others"`   // see config.ParsedFile.OtherSecrets
}

// secretsHandler changes the secrets of the board that it runs on, for the owner of an update key.
type secretsHandler struct {
	cfg     *config.Config
	file    string
	card    node.CardHost
	restart chan<- os.Signal

	mu        sync.Mutex
	challenge string // guarded by mu
}

func newSecretsHandler(cfg *config.Config, file string, card node.CardHost, restart chan<- os.Signal) *secretsHandler {
	return &secretsHandler{cfg: cfg, file: file, card: card, restart: restart, challenge: rand.Text()}
}

// ServeHTTP answers console.SecretsPath. A stranger's request costs one ed25519 at most, one at a time.
func (s *secretsHandler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var signed string
	err := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxSecretsBytes)).Decode(&signed)
	s.mu.Lock()
	defer s.mu.Unlock()
	w.Header().Set("Content-Type", "application/json")
	if r.Method == http.MethodGet {
		_ = json.NewEncoder(w).Encode(secretsState{s.cfg.Board.Name, node.RackTags(s.cfg.Rack), s.challenge}) // an error: the client has gone
		return
	}
	var has ownSecrets
	if err == nil {
		has, err = s.applySigned(signed)
	}
	if err != nil {
		w.WriteHeader(http.StatusForbidden)
		_ = json.NewEncoder(w).Encode(map[string]string{"error": err.Error()})
		return
	}
	_ = json.NewEncoder(w).Encode(has)
}

// applySigned writes the secrets of a statement into the board's file, and restarts it in place.
func (s *secretsHandler) applySigned(signed string) (has ownSecrets, err error) {
	var st secretsStatement
	_, text, _ := strings.Cut(signed, "\n")
	malformed := json.Unmarshal([]byte(text), &st)
	switch {
	case malformed != nil || st.Format != secretsFormat || !slices.Contains(s.cfg.Update.Keys, st.Key) || !cardinit.IsSignedBy(st.Key, signed):
		return has, errors.New("no key under [update] keys of this board's bramble.toml has signed these secrets")
	case s.challenge == "" || st.Challenge != s.challenge || st.Board != s.cfg.Board.Name:
		return has, errors.New("these secrets are for another board, or were signed before its last start")
	case len(restartSignals()) == 0:
		return has, errors.New("this system has no restart in place: change the board's bramble.toml by hand")
	case len(st.Keys) == 0:
		return s.listSecrets()
	}
	replace := func(file string, write func([]byte) error) error {
		text, err := os.ReadFile(file)
		if err == nil {
			text, err = st.Secrets.Apply(file, text)
		}
		if err == nil {
			err = write(text)
		}
		return err
	}
	if own, ok := s.card.(ownCard); ok {
		err = replace(own.paths.SettingsFile(), own.slots.ReplaceSettings) // s.file is a copy in memory
	}
	if err == nil {
		err = replace(s.file, func(text []byte) error { return durable.WriteFile(s.file, text, secretsFileMode) })
	}
	if err != nil {
		return has, err
	}
	s.challenge = ""
	select {
	case s.restart <- os.Interrupt:
	default: // one is requested already
	}
	return has, nil
}

// listSecrets names the secrets that the board's files have now, and checks that it can replace them.
func (s *secretsHandler) listSecrets() (has ownSecrets, err error) {
	file := s.file
	if own, ok := s.card.(ownCard); ok {
		file = own.paths.SettingsFile()
	} else if probe, err := os.CreateTemp(filepath.Dir(file), "."+filepath.Base(file)+"-*"); err != nil {
		return has, fmt.Errorf("the board cannot replace its settings, and its user must be able to write to their folder: %w", err)
	} else if err := errors.Join(probe.Close(), os.Remove(probe.Name())); err != nil {
		return has, err
	}
	doc, err := config.LoadFile(file)
	if err != nil {
		return has, err
	}
	accounts := passwordsOf(s.cfg)
	maps.Copy(accounts, passwordsOf(doc.Config))
	return ownSecrets{slices.Sorted(maps.Keys(accounts)), doc.OtherSecrets()}, nil
}
