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
	letsEncrypt     = "https://acme-v02.api.letsencrypt.org/directory" // certifies any name for free
	maxCertificates = maxSites                                         // names, or files, with a certificate of their own
)

func tlsKeys() []keySpec {
	return []keySpec{
		keyOf("tls", "listen", func(c *Config) *string { return &c.TLS.Listen }, nil,
			`Address of the public pages over https, such as ":443", the port that browsers use. `+
				"Empty: a rack in a classroom needs none.").
			withDefault(`"", no https`).checkedBy(checkTLSListen),
		keyOf("tls", "certificate_files", func(c *Config) *[]string { return &c.TLS.CertificateFiles }, nil,
			"PEM files, each with a certificate and its chain up to the CA, at most 64; a relative path starts at the directory of bramble.toml. "+
				"They are read again when they change.").
			checkedBy(checkPairs),
		keyOf("tls", "key_files", func(c *Config) *[]string { return &c.TLS.KeyFiles }, nil,
			"PEM files with the private keys of certificate_files, in the same order.").
			namesSecret("make new keys, and have the old certificates revoked"),
		keyOf("tls", "acme_domains", func(c *Config) *[]string { return &c.TLS.ACMEDomains }, checkList(maxCertificates, "names", checkACMEDomain),
			"Host names for which the rack gets certificates from a CA (ACME, RFC 8555), at most 64; one board does it for the whole rack. "+
				"Each name must resolve to a board that the internet reaches at port 443 or 80. By listing one you accept the CA's terms of service."),
		keyOf("tls", "acme_directory_url", func(c *Config) *string { return &c.TLS.ACMEDirectoryURL }, checkDirectoryURL,
			"Directory URL of that CA. "+
				"Let's Encrypt requires only the name."),
		keyOf("tls", "acme_email", func(c *Config) *string { return &c.TLS.ACMEEmail }, ifSet(checkEmail),
			"Mail address that the CA may write to.").
			withDefault(`"", none`),
		keyOf("tls", "acme_ca_root", func(c *Config) *string { return &c.TLS.ACMECARoot }, nil,
			"PEM file with the root certificate of the CA's own server, for a private CA.").
			withDefault(`"", the CAs that the system trusts`),
		keyOf("tls", "acme_storage", func(c *Config) *string { return &c.TLS.ACMEStorage }, checkFolder(`certificates need a directory; write one such as "certificates"`),
			"Directory for the certificates from the CA and their keys; a relative path starts at the directory of bramble.toml. "+
				"Each board has all of them.").
			namesSecret("with all boards off write another folder, for a new account and new certificates, and revoke the old ones"),
		keyOf("tls", "redirect_http", func(c *Config) *bool { return &c.TLS.RedirectHTTP }, nil,
			"Whether plain HTTP redirects clients to https (308), for names that have a certificate from a file or a CA. "+
				"Off, because TLS handshakes are the most expensive work for a board at a launch."),
		keyOf("tls", "hsts_max_age", func(c *Config) *Duration { return &c.TLS.HSTSMaxAge }, checkDuration(0, 87600*time.Hour),
			"Time for which browsers must use https only (HSTS, RFC 6797), 0s to 87600h. "+
				"0s sends no such field, because browsers remember it."),
		keyOf("tls", "max_pending_handshakes", func(c *Config) *int { return &c.TLS.MaxPendingHandshakes }, checkInt(1, 10_000),
			"Clients that may wait for their TLS handshake to begin, 1 to 10000, half of them from one address; more are closed at once. "+
				"A first Pi completes 128 within header_timeout."),
	}
}

func checkTLSListen(c *Config) string {
	switch t := c.TLS; {
	case t.Listen != "":
		return checkListen(t.Listen)
	case len(t.CertificateFiles) > 0 || len(t.ACMEDomains) > 0:
		return `a certificate needs a listener; write listen = ":443"`
	}
	return ""
}

func checkPairs(c *Config) string {
	t := c.TLS
	if problem := checkCount(len(t.CertificateFiles), maxCertificates, "files"); problem != "" {
		return problem
	}
	if len(t.CertificateFiles) != len(t.KeyFiles) {
		return fmt.Sprintf("there are %d, and %d under key_files; write both files of each, in the same order", len(t.CertificateFiles), len(t.KeyFiles))
	}
	return ""
}

func checkDirectoryURL(s string) string {
	u, err := url.Parse(s)
	return problemIf(err != nil || u.Scheme != "https" || !validHost(u.Hostname(), false) || u.User != nil, s,
		" is not the URL of a CA; write one such as "+letsEncrypt)
}

func checkEmail(s string) string {
	at, err := mail.ParseAddress(s)
	return problemIf(err != nil || at.Address != s, s, ` is not a mail address; write one such as "ops@shop.example"`)
}

func checkACMEDomain(name string) string {
	_, ip := netip.ParseAddr(name)
	if strings.HasPrefix(name, "*.") {
		return quote(name) + " is a wildcard, which a CA certifies over DNS only; write each name, or use a certificate file"
	}
	return problemIf(ip == nil || !validHost(name, false) || !strings.Contains(name, ".") || checkSiteHost(name) != "" || name != strings.ToLower(name), name,
		` is not a name that a CA certifies; write a host name in small letters, such as "shop.example"`)
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
