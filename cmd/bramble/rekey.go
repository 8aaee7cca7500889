package main

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"bramble/cluster/durable"
	"bramble/images/cardinit"
	"bramble/node"
	"bramble/node/certs"
	"bramble/node/config"
	"bramble/node/console"
	"bramble/node/console/client"
	"bramble/node/orderservice"
)

const (
	rekeyRounds    = 3               // accept the new key, use it, drop the old ones
	rekeyWait      = 3 * time.Minute // for a board to serve with its new secrets, or to be revived
	rekeyPoll      = 200 * time.Millisecond
	maxEarlierKeys = 2        // in old_keys already; with key and the new one four, the most that boards of earlier versions accept
	planSuffix     = ".rekey" // of the file with the new secrets, which a run that has not ended leaves
)

func rekeyCommand() command {
	return command{
		name:  "rekey",
		short: "replace the rack's secrets after a card was stolen",
		long: `
Replace the rack key, the console's passwords and the secret of the receipts'
links on all boards, while they serve. First keep the thief off your network:
with a card one can pose as a board, and would be given the new secrets.

Boards believe only the private half of a key under their [update] keys, which
is on no card, because the thief has the console's password. Without one, change
the secrets by hand, with --out: images/README.md has the steps.

Each board restarts three times: it accepts the new key, uses it, and drops the
old one. Until the end the new settings are in a file beside --config, which
ends in .rekey. If anything stops the command, run it again: it goes on with the
secrets in that file, and prints the passwords again. After a run that has ended
the next one makes new secrets.

It changes nothing until each board answers that the rack knows: those on the
lists of the boards, in the ledger, and in that file, and as many as [rack]
expected_boards. It ends only when each has the new secrets alone.

With --out it asks no board, and writes the settings with new secrets to a new
file, for the way by hand.`,
		examples: `
  bramble rekey --dry-run --console https://192.168.1.5:8080
  bramble rekey --stolen bramble-1a2b --console https://192.168.1.5:8080`,
		flags: func(fs *flagSet) runner {
			var f consoleFlags
			fs.StringVar(&f.address, "console", "", "`URL` of the console of any board (default that of a board on this machine)")
			fs.StringVar(&f.account, "account", "", "`NAME` of an account that may steer (default "+console.UserName+")")
			fs.StringVar(&f.file, "config", "bramble.toml", "your copy of the boards' settings, a `FILE` that gets the new secrets")
			keyFile := fs.String("update-key", "", "private update key, a `FILE` (default update.key beside --config)")
			stolen := fs.String("stolen", "", "`BOARD` whose card was stolen: it gets no new secrets")
			var off []string
			fs.Func("off", "`BOARD` that is off, and stays so until its card has the new bramble.toml; can be given several times", func(board string) error {
				off = append(off, board)
				return nil
			})
			out := fs.String("out", "", "write the settings with new secrets to this new `FILE`, and ask no board")
			dry := fs.Bool("dry-run", false, "print what would change, and change nothing")
			yes := fs.Bool("yes", false, "do it without asking")
			return func(ctx context.Context, w world, _ []string) error {
				if *stolen != "" {
					off = append(off, *stolen)
				}
				r := rekeying{w: w, file: f.file, plan: cmp.Or(*out, f.file+planSuffix), account: f.account, stolen: *stolen, off: off, known: map[string]*knownBoard{}}
				err := r.load()
				if err == nil && *out != "" {
					text, err := r.applyToFile(r.secretsFor(rekeyRounds))
					if err == nil {
						if err = writeSecret(*out, text); err == nil {
							r.printPasswords()
							r.explain()
						}
					}
					return err
				}
				if err == nil {
					err = r.loadKey(cmp.Or(*keyFile, filepath.Join(filepath.Dir(f.file), updateKeyFile)))
				}
				if err == nil {
					err = r.findBoards(ctx, f)
				}
				if err != nil {
					return err
				}
				if r.explain(); *dry {
					return nil
				}
				if !*yes {
					fmt.Fprint(w.out, "\nAre these boards yours, and is the thief off the network? Type yes: ")
					if answer, _ := bufio.NewReader(w.in).ReadString('\n'); strings.TrimSpace(answer) != "yes" {
						return usagef("nothing was changed")
					}
				}
				return r.run(ctx)
			}
		},
	}
}

// rekeying replaces the secrets of one rack.
type rekeying struct {
	w          world
	account    string
	stolen     string   // board
	file, plan string   // the owner's settings of now, and the new ones
	yours      []string // secrets that the owner replaces
	oldCA      string   // name of the consoles' CA
	ballots    []string // whose draw follows from a secret on the stolen card alone
	old, next  *config.Config
	text       []byte // of plan: as file, with the new rack key and each new password in clear
	isResumed  bool   // an earlier run has made them
	key        ed25519.PrivateKey
	public     string
	access     client.Access
	base       string
	first      string // board that the owner named by its address
	known      map[string]*knownBoard
	boards     []string // those that get new secrets
	off        []string // those that do not, by the owner's word: stolen among them
	foreign    []string // accounts that a board has and the owner's file has not
}

func (r *rekeying) printPasswords() {
	passwords := passwordsOf(r.next)
	for _, name := range slices.Sorted(maps.Keys(passwords)) {
		r.print("New password of " + cmp.Or(name, console.UserName) + " " + passwords[name])
	}
}

// load reads the owner's settings, and makes the new ones unless an earlier run has.
func (r *rekeying) load() error {
	file, err := config.LoadFile(r.file)
	if err != nil {
		return err
	}
	r.old, r.yours = file.Config, file.OtherSecrets()
	if len(r.old.Rack.OldKeys) > maxEarlierKeys {
		return fmt.Errorf("%s has a change of the rack key that is not finished: take keys out of old_keys on all boards first", r.file)
	}
	ca, err := certs.NewConsoleCA(r.old.Rack.Key.Bytes())
	if err != nil {
		return err
	}
	r.oldCA = ca.Name()
	fresh := config.Secrets{Keys: []string{config.NewRackKey().Reveal()}, Passwords: passwordsOf(r.old)}
	for name := range fresh.Passwords {
		fresh.Passwords[name] = console.NewPassword()
	}
	left, err := config.Load(r.plan)
	if r.isResumed = err == nil; r.isResumed {
		fresh.Keys[0] = left.Rack.Key.Reveal()
		maps.Copy(fresh.Passwords, passwordsOf(left))
		var boards map[string]knownBoard
		plan, err := os.ReadFile(r.plan)
		if at := bytes.LastIndex(plan, []byte(planBoards)); err == nil && at >= 0 {
			err = json.Unmarshal(plan[at+len(planBoards):], &boards)
		}
		if err != nil {
			return fmt.Errorf("the boards of an earlier run, at the end of %s: %w; correct that line, or remove it", r.plan, err)
		}
		for name, b := range boards {
			r.note(name).Console = b.Console
		}
	} else if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if r.text, err = r.applyToFile(fresh); err == nil {
		r.next, err = config.Parse(r.file, r.text)
	}
	return err
}

func (r *rekeying) loadKey(keyFile string) error {
	private, err := readSecret(r.w, keyFile)
	if err == nil {
		r.key, r.public, err = cardinit.ReadUpdateKey(private)
	}
	if err == nil && !slices.Contains(r.old.Update.Keys, r.public) {
		err = fmt.Errorf("%s has no line for it under [update] keys", r.file)
	}
	if err != nil {
		return fmt.Errorf("boards accept new secrets only with the private update key, %s: %w; without it change them by hand (images/README.md)", keyFile, err)
	}
	return nil
}

// applyToFile returns the owner's settings, as they are now, with other secrets.
func (r *rekeying) applyToFile(secrets config.Secrets) ([]byte, error) {
	text, err := os.ReadFile(r.file)
	if err != nil {
		return nil, err
	}
	return secrets.Apply(r.file, text)
}

// passwordsOf returns the console's passwords and tokens by account, as config.Secrets has them.
func passwordsOf(c *config.Config) map[string]string {
	all := map[string]string{"": c.Console.Password}
	for _, a := range c.Console.Accounts {
		all[a.Name] = a.Password
	}
	maps.DeleteFunc(all, func(_, secret string) bool { return secret == "" })
	return all
}

func (r *rekeying) print(text string) {
	fmt.Fprintln(r.w.out, strings.Join(wrapText(text, helpWidth), "\n"))
}

// explain prints what the thief has, and what is replaced here and elsewhere.
func (r *rekeying) explain() {
	if r.isResumed {
		r.print("An earlier run has not ended. This one goes on with its secrets, which are in " + r.plan + ".")
	}
	r.print("The thief has the orders of the card, with names and addresses (\"bramble orders export\" lists them), and all of its bramble.toml.")
	links := "; the secret of the receipts' links."
	if r.boards == nil {
		links = ". When the boards run with them, end the receipts' links: bramble orders relink --revoke --yes"
	}
	r.print(fmt.Sprintf("This replaces the rack key, with it the consoles' CA and the keys of session tickets; %d passwords of the console%s", len(passwordsOf(r.next)), links))
	r.print("Replace yourself, in the file of each board: " + cmp.Or(strings.Join(r.yours, ", "), "nothing") + ".")
	r.print(fmt.Sprintf("Remove the consoles' old CA, %q, from browsers, --ca files and Prometheus: who trusts it trusts the thief. \"bramble console certificate\" prints the new one.", r.oldCA))
	for _, product := range r.ballots {
		r.print(fmt.Sprintf("The thief can compute the winners of the ballot %s, and choose entries that win. Its secret cannot be replaced: \"bramble sale close %[1]s\" ends that now, and draws.", product))
	}
	if r.stolen != "" {
		r.print(fmt.Sprintf("Without the new key %s cannot vote on orders. Its vote counts as missing until a board with a new card takes it.", r.stolen))
	}
	if off := slices.DeleteFunc(slices.Clone(r.off), func(name string) bool { return name == r.stolen }); len(off) > 0 {
		r.print("Off, and left out: " + strings.Join(off, ", ") + ". Write the new bramble.toml to their cards before you switch them on: with the old one they cannot join, or accept the thief.")
	}
}

// roundOf returns the last round that a board has been through.
func (r *rekeying) roundOf(s secretsState) int {
	switch at := slices.Index(s.Tags, node.RackTags(r.next.Rack)[0]); {
	case at == 0 && len(s.Tags) == 1:
		return rekeyRounds
	case at == 0:
		return 2
	case at > 0:
		return 1
	}
	return 0
}

// secretsFor returns a board's secrets after a round.
func (r *rekeying) secretsFor(round int) (s config.Secrets) {
	fresh, keys := r.next.Rack.Key, append([]config.RackKey{r.old.Rack.Key}, r.old.Rack.OldKeys...)
	keys = slices.DeleteFunc(keys, func(k config.RackKey) bool { return k == fresh }) // the owner's file can be a board's
	s.Passwords = passwordsOf(r.next)
	for name, was := range passwordsOf(r.old) {
		if console.IsHash(was) {
			s.Passwords[name] = console.HashPassword(s.Passwords[name])
		}
	}
	switch round {
	case 0:
		return config.Secrets{} // a question
	case 1:
		keys, s.Passwords = append(keys, fresh), nil
	case 2:
		keys = append([]config.RackKey{fresh}, keys...)
	default:
		keys = []config.RackKey{fresh}
	}
	for _, key := range keys {
		s.Keys = append(s.Keys, key.Reveal())
	}
	return s
}

// run leads all boards through the rounds. What each has done is known from the board itself.
func (r *rekeying) run(ctx context.Context) error {
	r.printPasswords()
	boards, err := json.Marshal(r.known)
	if err == nil {
		err = durable.WriteFile(r.plan, slices.Concat(r.text, []byte(planBoards), boards, []byte("\n")), secretsFileMode)
	}
	if err != nil {
		return err
	}
	for round := 1; round <= rekeyRounds; round++ {
		for _, name := range r.boards {
			if err := r.advance(ctx, name, round); err != nil {
				remedy := "revive it and run the command again, or switch it off and add --off " + name
				if errors.Is(err, client.ErrRefused) {
					remedy = "correct that, and run the command again"
				}
				return fmt.Errorf("round %d of %d, %s: %w; %s: it goes on with the secrets in %s", round, rekeyRounds, name, err, remedy, r.plan)
			}
			r.print(fmt.Sprintf("Round %d of %d: %s serves.", round, rekeyRounds, name))
		}
		if err := r.checkRack(ctx, round); err != nil { // none may be left behind
			return err
		}
	}
	text, err := r.applyToFile(r.secretsFor(rekeyRounds))
	if err == nil {
		err = durable.WriteFile(r.file, text, secretsFileMode)
	}
	if err != nil {
		return fmt.Errorf("all boards have the new secrets, and %s has them, but %s has not: %w", r.plan, r.file, err)
	}
	if r.old.Orders.Enabled {
		err := submitCommand(ctx, r.w, r.known[r.first].client, orderservice.OperatorCommand{Action: "relink", Operator: "bramble rekey", Revoke: true}, false)
		if err != nil && !errors.Is(err, console.ErrUnknownBoard) { // 404: the rack is in front of another shop
			return fmt.Errorf("the rack has new keys, and the receipts' links are left: run the command again: %w", err)
		}
	}
	r.print("Done: " + r.file + " has the new secrets. Make a new card image with it, and do what is listed above as yours.")
	return os.Remove(r.plan)
}

// advance leads a board through one round, and waits until it serves. Round 0 only asks what it has.
func (r *rekeying) advance(ctx context.Context, name string, round int) error {
	ctx, cancel := context.WithTimeout(ctx, rekeyWait)
	defer cancel()
	poll := time.Tick(rekeyPoll)
	for {
		var s secretsState
		err := r.known[name].client.Secrets(ctx, http.MethodGet, nil, &s)
		switch {
		case err != nil:
		case s.Board != name:
			return fmt.Errorf("at its address is %s", s.Board)
		case round > 0 && r.roundOf(s) >= round:
			ready, why, unknown := r.known[name].client.Ready(ctx)
			if ready {
				return nil
			}
			err = errors.Join(unknown, errors.New(why))
		case s.Challenge != "":
			signed, _ := cardinit.SignJSON(r.key, secretsStatement{secretsFormat, r.public, name, s.Challenge, r.secretsFor(round)})
			var has ownSecrets
			if err = r.known[name].client.Secrets(ctx, http.MethodPost, signed, &has); round == 0 && err == nil {
				r.compare(name, has)
				return nil
			} else if errors.Is(err, client.ErrRefused) {
				return err
			}
		}
		select {
		case <-ctx.Done():
			return errors.Join(err, ctx.Err())
		case <-poll:
		}
	}
}
