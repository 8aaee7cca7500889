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
	// letsEncrypt is the directory URL of Let's Encrypt, which certifies any name for free.
	letsEncrypt = "https://acme-v02.api.letsencrypt.org/directory"
	// maxCertificates limits the names, or files, with a certificate of their own: as
	// many as there can be sites.
	maxCertificates = maxSites
)

// tlsKeys are the keys of [tls].
func tlsKeys() []keySpec {
	return []keySpec{
		{
			table: "tls", key: "listen", defaultText: `"", no https`,
			doc: `Address of the public pages over https, such as ":443", the port that browsers use. ` +
				"Empty: a rack in a classroom needs none.",
			at:    func(c *Config) any { return &c.TLS.Listen },
			check: func(c *Config) string { return checkTLSListen(c.TLS) },
		}, {
			table: "tls", key: "certificate_files",
			doc: "PEM files, each with a certificate and its chain up to the CA, at most 64; a relative path starts at the directory of bramble.toml. " +
				"They are read again when they change.",
			at:    func(c *Config) any { return &c.TLS.CertificateFiles },
			check: func(c *Config) string { return checkPairs(c.TLS) },
		}, {
			table: "tls", key: "key_files",
			doc: "PEM files with the private keys of certificate_files, in the same order.",
			at:  func(c *Config) any { return &c.TLS.KeyFiles },
		}, {
			table: "tls", key: "acme_domains",
			doc: "Host names for which the rack gets certificates from a CA (ACME, RFC 8555), at most 64; one board does it for the whole rack. " +
				"Each name must resolve to a board that the internet reaches at port 443 or 80. By listing one you accept the CA's terms of service.",
			at:    func(c *Config) any { return &c.TLS.ACMEDomains },
			check: func(c *Config) string { return checkACME(c.TLS) },
		}, {
			table: "tls", key: "acme_directory_url",
			doc: "Directory URL of that CA. " +
				"Let's Encrypt requires only the name.",
			at: func(c *Config) any { return &c.TLS.ACMEDirectoryURL },
			check: func(c *Config) string {
				u, err := url.Parse(c.TLS.ACMEDirectoryURL)
				if err != nil || u.Scheme != "https" || !validHost(u.Hostname(), false) || u.User != nil {
					return quote(c.TLS.ACMEDirectoryURL) + " is not the URL of a CA; write one such as " + letsEncrypt
				}
				return ""
			},
		}, {
			table: "tls", key: "acme_email", defaultText: `"", none`,
			doc: "Mail address that the CA may write to.",
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
			table: "tls", key: "acme_ca_root", defaultText: `"", the CAs that the system trusts`,
			doc: "PEM file with the root certificate of the CA's own server, for a private CA.",
			at:  func(c *Config) any { return &c.TLS.ACMECARoot },
		}, {
			table: "tls", key: "acme_storage",
			doc: "Directory for the certificates from the CA and their keys; a relative path starts at the directory of bramble.toml. " +
				"Each board has all of them.",
			at: func(c *Config) any { return &c.TLS.ACMEStorage },
			check: func(c *Config) string {
				if c.TLS.ACMEStorage == "" {
					return `certificates need a directory; write one such as "certificates"`
				}
				return ""
			},
		}, {
			table: "tls", key: "redirect_http",
			doc: "Whether plain HTTP redirects clients to https (308), for names that have a certificate from a file or a CA. " +
				"Off, because TLS handshakes are the most expensive work for a board at a launch.",
			at: func(c *Config) any { return &c.TLS.RedirectHTTP },
		}, {
			table: "tls", key: "hsts_max_age",
			doc: "Time for which browsers must use https only (HSTS, RFC 6797), 0s to 87600h. " +
				"0s sends no such field, because browsers remember it.",
			at:    func(c *Config) any { return &c.TLS.HSTSMaxAge },
			check: func(c *Config) string { return checkDuration(c.TLS.HSTSMaxAge, 0, 87600*time.Hour) },
		}, {
			table: "tls", key: "max_pending_handshakes",
			doc: "Clients that may wait for their TLS handshake to begin, 1 to 10000, half of them from one address; more are closed at once. " +
				"A first Pi completes 128 within header_timeout.",
			at:    func(c *Config) any { return &c.TLS.MaxPendingHandshakes },
			check: func(c *Config) string { return checkInt(c.TLS.MaxPendingHandshakes, 1, 10_000) },
		},
	}
}

func checkTLSListen(t TLSSettings) string {
	switch {
	case t.Listen != "":
		return checkListen(t.Listen)
	case len(t.CertificateFiles) > 0 || len(t.ACMEDomains) > 0:
		return `a certificate needs a listener; write listen = ":443"`
	}
	return ""
}

func checkPairs(t TLSSettings) string {
	if problem := checkCount(len(t.CertificateFiles), maxCertificates, "files"); problem != "" {
		return problem
	}
	if len(t.CertificateFiles) != len(t.KeyFiles) {
		return fmt.Sprintf("there are %d, and %d under key_files; write both files of each, in the same order", len(t.CertificateFiles), len(t.KeyFiles))
	}
	return ""
}

func checkACME(t TLSSettings) string {
	if problem := checkCount(len(t.ACMEDomains), maxCertificates, "names"); problem != "" {
		return problem
	}
	for _, name := range t.ACMEDomains {
		_, ip := netip.ParseAddr(name)
		switch {
		case strings.HasPrefix(name, "*."):
			return quote(name) + " is a wildcard, which a CA certifies over DNS only; write each name, or use a certificate file"
		case ip == nil, !validHost(name, false), !strings.Contains(name, "."), checkSiteHost(name) != "", name != strings.ToLower(name):
			return quote(name) + ` is not a name that a CA certifies; write a host name in small letters, such as "shop.example"`
		}
	}
	return ""
}

// resolvePaths makes relative paths absolute. They start at the directory of file.
func (t *TLSSettings) resolvePaths(file string) {
	for _, list := range [][]string{t.CertificateFiles, t.KeyFiles} {
		for i := range list {
			list[i] = relativeTo(file, list[i])
		}
	}
	t.ACMECARoot, t.ACMEStorage = relativeTo(file, t.ACMECARoot), relativeTo(file, t.ACMEStorage)
}
