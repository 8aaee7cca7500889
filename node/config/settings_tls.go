package config

import (
	"fmt"
	"net/mail"
	"net/netip"
	"net/url"
	"strings"
	"time"
)

const (
	// letsEncrypt is the directory of the CA that certifies anybody's name for nothing.
	letsEncrypt = "https://acme-v02.api.letsencrypt.org/directory"
	// maxCertificates bounds the names, or files, with a certificate of their own:
	// as many as there may be sites.
	maxCertificates = maxSites
)

// tlsSettings are the keys of [tls].
func tlsSettings() []setting {
	return []setting{
		{
			table: "tls", key: "listen", fallback: `"", no https`,
			doc: `Address of the public pages by https, such as ":443", which is the port that a browser asks. ` +
				"Empty: a rack in a classroom needs none.",
			at:    func(c *Config) any { return &c.TLS.Listen },
			check: func(c *Config) string { return checkTLSListen(c.TLS) },
		}, {
			table: "tls", key: "certificate",
			doc: "PEM files with a certificate and those between it and its CA, at most 64; a relative path starts at the folder of bramble.toml. " +
				"They are read again when they change.",
			at:    func(c *Config) any { return &c.TLS.Certificate },
			check: func(c *Config) string { return checkPairs(c.TLS) },
		}, {
			table: "tls", key: "key",
			doc: "PEM files with their private keys, in the same order.",
			at:  func(c *Config) any { return &c.TLS.Key },
		}, {
			table: "tls", key: "acme",
			doc: "Host names that a CA is asked to certify (ACME, RFC 8555), at most 64; one board asks for the whole rack. " +
				"Whoever asks for such a name on the internet must reach a board, at port 443 or 80. To list one accepts the CA's terms of service.",
			at:    func(c *Config) any { return &c.TLS.ACME },
			check: func(c *Config) string { return checkACME(c.TLS) },
		}, {
			table: "tls", key: "acme_directory",
			doc: "Where that CA is asked. Let's Encrypt asks for nothing but the name.",
			at:  func(c *Config) any { return &c.TLS.ACMEDirectory },
			check: func(c *Config) string {
				u, err := url.Parse(c.TLS.ACMEDirectory)
				if err != nil || u.Scheme != "https" || !validHost(u.Hostname(), false) || u.User != nil {
					return quote(c.TLS.ACMEDirectory) + " is not the address of a CA; write one such as " + letsEncrypt
				}
				return ""
			},
		}, {
			table: "tls", key: "acme_email", fallback: `"", none`,
			doc: "Where the CA may write to.",
			at:  func(c *Config) any { return &c.TLS.ACMEEmail },
			check: func(c *Config) string {
				if c.TLS.ACMEEmail == "" {
					return ""
				}
				if at, err := mail.ParseAddress(c.TLS.ACMEEmail); err != nil || at.Address != c.TLS.ACMEEmail {
					return quote(c.TLS.ACMEEmail) + ` is not a mail address; write one such as "ops@shop.example"`
				}
				return ""
			},
		}, {
			table: "tls", key: "acme_ca", fallback: `"", those that the system trusts`,
			doc: "PEM file with the certificate that the CA's own server is trusted by. For a CA of one's own.",
			at:  func(c *Config) any { return &c.TLS.ACMECA },
		}, {
			table: "tls", key: "folder",
			doc: "Folder where certificates from the CA are kept, with their keys; a relative path starts at the folder of bramble.toml. " +
				"Each board has all of them.",
			at: func(c *Config) any { return &c.TLS.Folder },
			check: func(c *Config) string {
				if c.TLS.Folder == "" {
					return `certificates need a folder; write one such as "certificates"`
				}
				return ""
			},
		}, {
			table: "tls", key: "redirect",
			doc: "Whether plain HTTP sends clients to https (308), for names that have a certificate from a file or a CA. " +
				"Off, since at a launch a handshake is what a board can least afford.",
			at: func(c *Config) any { return &c.TLS.Redirect },
		}, {
			table: "tls", key: "strict_transport",
			doc: "For how long browsers are told to come by https only (RFC 6797), 0s to 87600h. 0s does not say it, " +
				"for it cannot be taken back.",
			at:    func(c *Config) any { return &c.TLS.StrictTransport },
			check: func(c *Config) string { return checkDuration(c.TLS.StrictTransport, 0, 87600*time.Hour) },
		}, {
			table: "tls", key: "handshakes",
			doc: "How many clients may wait for their turn to begin, 1 to 10000, half of them from one address; those beyond are closed at once. " +
				"128, what a first Pi gets done within header_timeout.",
			at:    func(c *Config) any { return &c.TLS.Handshakes },
			check: func(c *Config) string { return checkInt(c.TLS.Handshakes, 1, 10_000) },
		},
	}
}

func checkTLSListen(t TLS) string {
	switch {
	case t.Listen != "":
		return checkListen(t.Listen)
	case len(t.Certificate) > 0 || len(t.ACME) > 0:
		return `a certificate is of use on a listener only; write listen = ":443"`
	}
	return ""
}

func checkPairs(t TLS) string {
	if problem := checkCount(len(t.Certificate), maxCertificates, "files"); problem != "" {
		return problem
	}
	if len(t.Certificate) != len(t.Key) {
		return fmt.Sprintf("there are %d, and %d under key; write both files of each, in the same order", len(t.Certificate), len(t.Key))
	}
	return ""
}

func checkACME(t TLS) string {
	if problem := checkCount(len(t.ACME), maxCertificates, "names"); problem != "" {
		return problem
	}
	for _, name := range t.ACME {
		_, ip := netip.ParseAddr(name)
		switch {
		case strings.HasPrefix(name, "*."):
			return quote(name) + " stands for many names, which a CA certifies by DNS only; write each name, or get a certificate file"
		case ip == nil, !validHost(name, false), !strings.Contains(name, "."), checkSiteHost(name) != "", name != strings.ToLower(name):
			return quote(name) + ` is no name that a CA certifies; write a host name in small letters, such as "shop.example"`
		}
	}
	return ""
}

// beside makes relative paths absolute.
func (t *TLS) beside(file string) {
	for _, list := range [][]string{t.Certificate, t.Key} {
		for i := range list {
			list[i] = beside(file, list[i])
		}
	}
	t.ACMECA, t.Folder = beside(file, t.ACMECA), beside(file, t.Folder)
}
