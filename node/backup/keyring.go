package backup

import (
	"bufio"
	"compress/gzip"
	"errors"
	"fmt"
	"io"

	"filippo.io/age"
	"github.com/pierrec/lz4/v4"
)

const (
	// scryptWorkFactor is the base-2 logarithm of the cost of a passphrase. scrypt then
	// needs 32 MB and, on a first Pi, some seconds; age's own 18 needs 256 MB, which is all
	// that such a board has. What an attacker saves by it, two more random letters of the
	// passphrase make up for.
	scryptWorkFactor    = 15
	maxScryptWorkFactor = 20 // of a file that is opened: 1 GB
	// MinPassphrase is the least length of a passphrase, in bytes.
	MinPassphrase = 12
	gzipStart     = "\x1f\x8b" // begins a file of earlier versions
	// MaxRecipients limits the recipients of one backup.
	MaxRecipients = 20
)

// Keyring encrypts backups, and opens those that it has encrypted.
type Keyring struct {
	recipients []age.Recipient
	identities []age.Identity
}

// NewPassphraseKeyring returns a keyring with a passphrase, which opens other backups with the
// same one, too.
func NewPassphraseKeyring(passphrase string) (*Keyring, error) {
	if len(passphrase) < MinPassphrase {
		return nil, fmt.Errorf("a passphrase has at least %d characters; five random words are good", MinPassphrase)
	}
	to, err := age.NewScryptRecipient(passphrase)
	if err != nil {
		return nil, fmt.Errorf("the passphrase: %w", err)
	}
	to.SetWorkFactor(scryptWorkFactor)
	identity, err := age.NewScryptIdentity(passphrase)
	if err != nil {
		return nil, fmt.Errorf("the passphrase: %w", err)
	}
	identity.SetMaxWorkFactor(maxScryptWorkFactor)
	return &Keyring{[]age.Recipient{to}, []age.Identity{identity}}, nil
}

// NewRecipientsKeyring returns a keyring for age's public keys ("age1…"). It adds a recipient of
// its own whose key only this Keyring has and which is never stored: with it a backup can be
// read back after writing, although no board has a secret key.
func NewRecipientsKeyring(recipients []string) (*Keyring, error) {
	own, err := age.GenerateX25519Identity()
	if err != nil {
		return nil, fmt.Errorf("a key to read the backup back: %w", err)
	}
	k := &Keyring{[]age.Recipient{own.Recipient()}, []age.Identity{own}}
	if len(recipients) == 0 || len(recipients) > MaxRecipients {
		return nil, fmt.Errorf("a backup has 1 to %d recipients, not %d", MaxRecipients, len(recipients))
	}
	for _, text := range recipients {
		to, err := age.ParseX25519Recipient(text)
		if err != nil {
			return nil, fmt.Errorf("%q is not a recipient; \"age-keygen\" prints one, which begins with age1", text)
		}
		k.recipients = append(k.recipients, to)
	}
	return k, nil
}

// NewIdentitiesKeyring returns a keyring that only opens, with the secret keys of a file that
// age-keygen wrote.
func NewIdentitiesKeyring(file io.Reader) (*Keyring, error) {
	identities, err := age.ParseIdentities(file)
	if err != nil {
		return nil, errors.New("the identity file has no secret key; \"age-keygen\" writes one, which begins with AGE-SECRET-KEY-1")
	}
	return &Keyring{nil, identities}, nil
}

// Seal compresses and encrypts the stream that write writes.
func (k *Keyring) Seal(to io.Writer, write func(io.Writer) error) error {
	sealed, err := age.Encrypt(to, k.recipients...)
	if err != nil {
		return fmt.Errorf("backup: encrypting: %w", err)
	}
	if err := packStream(sealed, write); err != nil {
		return err
	}
	if err := sealed.Close(); err != nil {
		return fmt.Errorf("backup: encrypting: %w", err)
	}
	return nil
}

func packStream(to io.Writer, write func(io.Writer) error) error {
	packed := lz4.NewWriter(to)
	// age and the stream have a checksum each; concurrent blocks need memory, and a first Pi has one core.
	if err := packed.Apply(lz4.BlockSizeOption(lz4.Block256Kb), lz4.ChecksumOption(false), lz4.ConcurrencyOption(1)); err != nil {
		return fmt.Errorf("backup: compressing: %w", err)
	}
	if err := write(packed); err != nil {
		return err
	}
	if err := packed.Close(); err != nil {
		return fmt.Errorf("backup: compressing: %w", err)
	}
	return nil
}

// Open decrypts and checks a whole backup; use is as in ReadStream. Errors are ErrNotBackup,
// ErrWrongKey, ErrDamaged, ErrNewer, or use's.
func (k *Keyring) Open(from io.Reader, use func(h Header, book io.Reader) error) (Header, error) {
	opened, err := age.Decrypt(from, k.identities...)
	switch {
	case errors.As(err, new(*age.NoIdentityMatchError)):
		return Header{}, ErrWrongKey
	case err != nil:
		return Header{}, fmt.Errorf("%w, or its beginning is damaged", ErrNotBackup)
	}
	packed := bufio.NewReader(opened)
	var unpacked io.Reader = lz4.NewReader(packed)
	if start, _ := packed.Peek(len(gzipStart)); string(start) == gzipStart { // what is wrong, ReadStream will say
		if unpacked, err = gzip.NewReader(packed); err != nil {
			return Header{}, damageOf(err)
		}
	}
	h, err := ReadStream(unpacked, use)
	if errors.Is(err, lz4.ErrInvalidFrame) {
		return h, ErrNotBackup
	}
	if _, end := packed.ReadByte(); err == nil && end != io.EOF {
		err = fmt.Errorf("%w (there is data after its end)", ErrDamaged)
	}
	return h, err
}
