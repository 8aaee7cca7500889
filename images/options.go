package images

import "fmt"

// Options specify what goes onto the card, and where its parts come from.
type Options struct {
	Config    string // the rack's bramble.toml, checked by the caller
	Shop      string // folder of catalogue, pictures and templates; "" = none
	Out       string // the image; it is written beside this name and renamed
	Manifest  string // file for the list of the image's content; "" = on the card only
	Later     bool   // for Pi 2, 3, 4 and Zero 2 too
	Binary    string // Bramble for ARMv6; "" = built from the source in the current folder
	UpdateKey []byte // a private key in PEM, to sign the update; nil: no board will accept one

	// Released is the time of the source (RFC 3339), where the build does not tell; it counts before what the build tells.
	Released string

	PackageSource
	// Progress receives one line per step, of at most 72 bytes. nil: no progress is shown.
	Progress func(line string)
}

func (o Options) progressf(format string, args ...any) {
	if o.Progress != nil {
		o.Progress(fmt.Sprintf(format, args...))
	}
}
