package console

import (
	"bytes"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"

	"golang.org/x/crypto/scrypt"
)

// Role is what an account may do. Each includes those before it.
type Role string

// The roles, the least first. roleNone is the role of strangers at a console without accounts.
const (
	roleNone  Role = ""
	RoleLook  Role = "look"  // read what has no people's data
	RoleShop  Role = "shop"  // orders, sales and fulfilment
	RoleSteer Role = "steer" // everything
)

func (r Role) includes(other Role) bool {
	order := []Role{roleNone, RoleLook, RoleShop, RoleSteer}
	return slices.Index(order, r) >= slices.Index(order, other)
}

const commandsPattern = "POST " + ShopPath + "commands" // pattern of an operator's commands, whose actions have roles of their own

const actionKey = "command" // stands in the table of roles before an action

const maxCommand = 128 << 10 // bounds an operator's command, in bytes; the shop reads no longer one

// roleTable has the role that each request needs, by its pattern (http.ServeMux), and that each
// action of an operator's command needs. What it does not have needs RoleSteer.
func roleTable() map[string]Role {
	table := map[string]Role{}
	for role, requests := range map[Role][]string{
		roleNone: {"GET /{$}", "GET /{file}", "GET /api/v1/rack", "GET /api/v1/events"},
		RoleLook: {"GET shop/sales", "GET shop/sales/{product}", "GET shop/ledger", "GET shop/ledger/boards", "GET shop/ledger/clock",
			"GET shop/backup/status", "GET shop/erasure"},
		RoleShop: {"GET shop/orders", "GET shop/orders/{reference}", "GET shop/person", "GET shop/draw/{product}", "GET shop/audit", "GET shop/restore",
			"GET shop/fulfilment", "POST shop/fulfilment", "POST shop/commands",
			"command cancel", "command sent", "command return", "command fulfil", "command stock"},
		RoleSteer: {"command announce", "command close", "command draw", "command erase", "command invite", "command open", "command relink",
			"command retire", "command revise", "command times", "GET shop/orders/{reference}/link", "GET shop/backup", "POST shop/restore", "PUT shop/restore/{op}/{number}",
			"POST shop/ledger/choose", "POST shop/ledger/clock", "POST shop/ledger/found", "POST shop/ledger/recover",
			"POST purge", "POST drain", "POST locate", "POST lab",
			"GET card/slots", "POST card/begin", "POST card/check", "POST card/commit", "POST card/try", "PUT card/file/{name}"},
	} {
		for _, request := range requests {
			method, path, _ := strings.Cut(request, " ")
			if path[0] != '/' && method != actionKey {
				path = "/api/v1/" + path
			}
			table[method+" "+path] = role
		}
	}
	return table
}

type roleRouter struct {
	table map[string]Role
	mux   *http.ServeMux
}

func newRoleRouter() roleRouter {
	r := roleRouter{roleTable(), http.NewServeMux()}
	for pattern := range r.table {
		if !strings.HasPrefix(pattern, actionKey) {
			r.mux.Handle(pattern, http.NotFoundHandler())
		}
	}
	return r
}

// roleFor returns the role that a request needs, whose sender has the role own.
func (r roleRouter) roleFor(request *http.Request, own Role) Role {
	_, pattern := r.mux.Handler(request)
	needed, ok := r.table[pattern]
	if pattern == commandsPattern && own.includes(needed) {
		needed, ok = r.table[actionKey+" "+peekAction(request)]
	}
	if !ok {
		return RoleSteer
	}
	return needed
}

// peekAction returns the action of an operator's command, or "", and leaves the body as it was.
func peekAction(r *http.Request) string {
	body, _ := io.ReadAll(io.LimitReader(r.Body, maxCommand))            // who reads on gets the error
	r.Body = io.NopCloser(io.MultiReader(bytes.NewReader(body), r.Body)) // net/http closes its own
	var command struct {
		Action string `json:"action"`
	}
	if json.NewDecoder(bytes.NewReader(body)).Decode(&command) != nil { // as the shop decodes it
		return ""
	}
	return command.Action
}

// Account is somebody, or a program, that may use the console.
type Account struct {
	Name   string
	Role   Role
	Secret string // a password, or the hash of one (HashPassword), or of a token (HashToken)
}

const (
	passwordHash = "scrypt:" // + salt:hash
	tokenHash    = "sha256:" // + hex; of a generated secret, which is too long to guess
	// scryptCost costs 4 MB and a first Pi an estimated 0.4 s, once for each password that is right.
	scryptCost = 1 << 12
)

// The prefixes of the secrets that the commands make, by which people and programs recognise them,
// and the least length: 128 random bits in base32 follow.
const (
	TokenPrefix    = "brt_"
	passwordPrefix = "brp_"
	minGenerated   = 30
)

// IsGenerated reports whether a secret has the form of a generated one, which nobody can guess.
func IsGenerated(secret string) bool {
	return len(secret) >= minGenerated && (strings.HasPrefix(secret, TokenPrefix) || strings.HasPrefix(secret, passwordPrefix))
}

// NewPassword returns a password of 130 random bits that a person can type.
func NewPassword() string { return passwordPrefix + strings.ToLower(rand.Text()) }

// HashPassword returns the hash of a password for bramble.toml: a slow one, unless it is generated.
func HashPassword(password string) string {
	if IsGenerated(password) {
		return HashToken(password)
	}
	return hashWithSalt(password, rand.Text())
}

func hashWithSalt(password, salt string) string {
	sum, err := scrypt.Key([]byte(password), []byte(salt), scryptCost, 8, 1, sha256.Size)
	if err != nil {
		panic("console: " + err.Error()) // the parameters are constants
	}
	return passwordHash + salt + ":" + base64.RawURLEncoding.EncodeToString(sum)
}

// NewToken returns a token of 260 random bits.
func NewToken() string { return TokenPrefix + rand.Text() + rand.Text() }

// HashToken returns the hash of a generated secret for bramble.toml.
func HashToken(token string) string {
	sum := sha256.Sum256([]byte(token))
	return tokenHash + hex.EncodeToString(sum[:])
}

// IsHash reports whether a secret is the hash of one.
func IsHash(secret string) bool {
	return strings.HasPrefix(secret, passwordHash) || strings.HasPrefix(secret, tokenHash)
}

// isSecret reports whether a client has sent the account's password or token.
func (a *Account) isSecret(sent string) bool {
	if rest, ok := strings.CutPrefix(a.Secret, passwordHash); ok {
		salt, _, _ := strings.Cut(rest, ":")
		sent = hashWithSalt(sent, salt)
	} else if strings.HasPrefix(a.Secret, tokenHash) {
		sent = HashToken(sent)
	}
	x, y := sha256.Sum256([]byte(sent)), sha256.Sum256([]byte(a.Secret)) // so that the time does not reveal a length
	return subtle.ConstantTimeCompare(x[:], y[:]) == 1
}

// isGenerated reports whether a client has sent the account's secret, and it is a generated one.
func (a *Account) isGenerated(sent string) bool {
	return IsGenerated(sent) && !strings.HasPrefix(a.Secret, passwordHash) && a.isSecret(sent)
}

// DeviceCookie (OWASP) says that its browser has once sent the right password of an account: it
// may try passwords although others at its address have sent wrong ones. It opens nothing by
// itself. Any board verifies it, until the password changes or it ends.
const (
	DeviceCookie = "__Host-bramble-device"
	deviceLife   = 30 * 24 * time.Hour
	deviceNonce  = 16
)

// DeviceKey derives the key of a rack's device cookies.
func DeviceKey(rackKey []byte) ([]byte, error) {
	return hkdf.Key(sha256.New, rackKey, nil, "bramble console device v1", sha256.Size)
}

// NewDevice returns a device cookie's value for an account: its end, a random number and a MAC.
func NewDevice(key []byte, account Account, now time.Time) string {
	value := binary.BigEndian.AppendUint64(nil, uint64(now.Add(deviceLife).Unix()))
	value = append(value, rand.Text()[:deviceNonce]...)
	return base64.RawURLEncoding.EncodeToString(append(value, deviceMAC(key, account, value)...))
}

func deviceMAC(key []byte, account Account, value []byte) []byte {
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte(account.Name + "\x00" + account.Secret + "\x00"))
	mac.Write(value)
	return mac.Sum(nil)
}

// deviceOf returns the name of the client's device; "" if it has no valid cookie for the account.
func deviceOf(key []byte, account Account, r *http.Request, now time.Time) string {
	cookie, err := r.Cookie(DeviceCookie)
	if err != nil {
		return ""
	}
	value, err := base64.RawURLEncoding.DecodeString(cookie.Value)
	if err != nil || len(value) != 8+deviceNonce+sha256.Size {
		return ""
	}
	said, mac := value[:8+deviceNonce], value[8+deviceNonce:]
	if !hmac.Equal(mac, deviceMAC(key, account, said)) || now.Unix() >= int64(binary.BigEndian.Uint64(said)) {
		return ""
	}
	return "device " + string(said[8:])
}
