package console

import (
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
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

// roleTable has the role that a request needs, by its pattern (http.ServeMux). A request that it
// does not have needs RoleSteer.
func roleTable() map[string]Role {
	table := map[string]Role{"GET /{$}": roleNone, "GET /{file}": roleNone, "GET /api/v1/rack": roleNone, "GET /api/v1/events": roleNone}
	for _, path := range []string{"sales", "sales/{product}", "ledger", "ledger/boards", "ledger/clock", "backup/status", "erasure"} {
		table["GET "+ShopPath+path] = RoleLook
	}
	for _, path := range []string{"GET orders", "GET orders/{reference}", "GET draw/{product}", "GET audit", "GET restore", "GET fulfilment", "POST fulfilment", "POST commands"} {
		method, path, _ := strings.Cut(path, " ")
		table[method+" "+ShopPath+path] = RoleShop
	}
	return table
}

// roleRouter finds the role that a request needs.
type roleRouter struct {
	table map[string]Role
	mux   *http.ServeMux
}

func newRoleRouter() roleRouter {
	r := roleRouter{roleTable(), http.NewServeMux()}
	for pattern := range r.table {
		r.mux.Handle(pattern, http.NotFoundHandler())
	}
	return r
}

func (r roleRouter) roleFor(request *http.Request) Role {
	_, pattern := r.mux.Handler(request)
	if role, ok := r.table[pattern]; ok {
		return role
	}
	return RoleSteer
}

// Account is somebody, or a program, that may use the console.
type Account struct {
	Name string
	Role Role
	// Secret is a password, or the hash of one (HashPassword), or of a token (HashToken).
	Secret string
}

const (
	passwordHash = "scrypt:" // + salt:hash
	tokenHash    = "sha256:" // + hex; a token is too long to guess
	// scryptCost costs 4 MB and a first Pi an estimated 0.4 s, once for each password that is right.
	scryptCost = 1 << 12
)

// HashPassword returns the hash of a password for bramble.toml.
func HashPassword(password string) string { return hashWithSalt(password, rand.Text()) }

func hashWithSalt(password, salt string) string {
	sum, err := scrypt.Key([]byte(password), []byte(salt), scryptCost, 8, 1, sha256.Size)
	if err != nil {
		panic("console: " + err.Error()) // the parameters are constants
	}
	return passwordHash + salt + ":" + base64.RawURLEncoding.EncodeToString(sum)
}

// NewToken returns a token of 256 random bits.
func NewToken() string { return TokenPrefix + rand.Text() + rand.Text() }

// HashToken returns the hash of a token for bramble.toml.
func HashToken(token string) string {
	sum := sha256.Sum256([]byte(token))
	return tokenHash + hex.EncodeToString(sum[:])
}

// IsHash reports whether a secret is the hash of one.
func IsHash(secret string) bool {
	return strings.HasPrefix(secret, passwordHash) || strings.HasPrefix(secret, tokenHash)
}

// IsTokenHash reports whether a secret is the hash of a token, which opens nothing by itself.
func IsTokenHash(secret string) bool { return strings.HasPrefix(secret, tokenHash) }

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
