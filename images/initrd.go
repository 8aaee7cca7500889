package images

import (
	"bytes"
	"compress/gzip"
	"context"
	"debug/elf"
	_ "embed"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
)

// startScript is the first program that runs.
//
//go:embed files/init
var startScript []byte

// inittab is what busybox's init keeps running.
//
//go:embed files/inittab
var inittab []byte

// profile greets at the serial console.
//
//go:embed files/profile
var profile []byte

// initrd makes the start-up file system, which stays the root: packed, with
// everything that runs on the card.
func (p *parts) initrd(ctx context.Context, kernels []kernel) ([]byte, error) {
	t := tree{}
	for _, dir := range []string{"proc", "sys", "dev", "run", "boot", "data", "etc", "root", "usr/bin", "usr/sbin"} {
		t.folder(dir, 0o755)
	}
	t.folder("tmp", 0o1777)
	// The kernel opens the console for the first program before /dev is there.
	t.device("dev/console", 0o600, 5, 1)
	t.device("dev/null", 0o666, 1, 3)
	t.file("init", 0o755, startScript)
	t.file("etc/inittab", 0o644, inittab)
	t.file("etc/profile", 0o644, profile)
	t.file("etc/modules", 0o644, []byte(strings.Join(modulesOf(p.options.generations()), "\n")+"\n"))
	t.file("etc/passwd", 0o644, []byte("root::0:0:root:/root:/bin/sh\n"))
	t.file("etc/group", 0o644, []byte("root:x:0:\n"))
	// What DHCP says is written to a RAM file system; this finds it.
	t.link("etc/resolv.conf", "/run/resolv.conf")
	t.file("etc/udhcpc.script", 0o755, p.options.DHCPScript)
	t.link("sbin/init", "/bin/busybox")
	t.link("bin/sh", "busybox")

	if err := p.programs(t, kernels); err != nil {
		return nil, err
	}
	certificates, err := bundle(p.root("ca-certificates"))
	if err != nil {
		return nil, err
	}
	t.file("etc/ssl/certs/ca-certificates.crt", 0o644, certificates)
	staged := filepath.Join(p.work, "modules")
	for _, k := range kernels {
		if err := k.stage(ctx, p.tools, staged); err != nil {
			return nil, err
		}
	}
	if err := t.graft(staged); err != nil {
		return nil, err
	}
	return t.pack(p)
}

// pack writes the tree as the kernel takes it: by gzip, which a first Pi unpacks
// the fastest (DESIGN.md).
func (t tree) pack(p *parts) ([]byte, error) {
	var whole bytes.Buffer
	if err := t.write(&whole, p.lock.Dated); err != nil {
		return nil, err
	}
	packed, err := pack(whole.Bytes())
	if err != nil {
		return nil, fmt.Errorf("packing the start-up file system: %w", err)
	}
	return packed, nil
}

// pack packs by gzip, without a name and a time.
func pack(content []byte) ([]byte, error) {
	var packed bytes.Buffer
	zip, err := gzip.NewWriterLevel(&packed, gzip.BestCompression)
	if err != nil {
		return nil, err
	}
	if _, err := zip.Write(content); err != nil {
		return nil, err
	}
	if err := zip.Close(); err != nil {
		return nil, err
	}
	return packed.Bytes(), nil
}

// programs adds Bramble, busybox, the tools for ext4, the one that starts
// another kernel, and the libraries of these.
func (p *parts) programs(t tree, kernels []kernel) error {
	t.file("bin/bramble", 0o755, p.binary.content)
	first := firstBoards().architecture
	busybox, err := p.readAny(first, "bin/busybox", "usr/bin/busybox")
	if err != nil {
		return err
	}
	t.file("bin/busybox", 0o755, busybox)
	for _, name := range []string{"e2fsck", "mke2fs", "resize2fs", kexec} {
		if err := p.program(t, first, "sbin/"+name, "sbin/"+name, "lib"); err != nil {
			return err
		}
	}
	for _, k := range kernels {
		if k.kexec == "" {
			continue
		}
		// Beside its modules, which the first program removes where another kernel runs.
		// The loader of a program is wherever the program says, so that is a link to it.
		folder := modulesFolder + k.version + "/programs"
		if err := p.program(t, k.architecture, "sbin/"+kexec, folder+"/"+kexec, folder); err != nil {
			return err
		}
		t.link("sbin/"+k.kexec, "/"+folder+"/"+kexec)
		t.link("lib/"+triplet(k.architecture), "/"+folder)
		for name := range t {
			if base := path.Base(name); path.Dir(name) == folder && strings.HasPrefix(base, "ld-linux") {
				t.link("lib/"+base, "/"+name)
			}
		}
	}
	return nil
}

const (
	// kexec starts another kernel.
	kexec = "kexec"
	// modulesFolder has a folder for each kernel.
	modulesFolder = "lib/modules/"
)

// program adds a program of Debian's under a name, and its libraries to a folder.
func (p *parts) program(t tree, architecture, from, name, folder string) error {
	content, err := p.readAny(architecture, from, "usr/"+from)
	if err != nil {
		return err
	}
	t.file(name, 0o755, content)
	loader, libraries, err := linkedWith(content)
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	if loader != "" {
		libraries = append(libraries, filepath.Base(loader))
	}
	for len(libraries) > 0 {
		library := libraries[0]
		libraries = libraries[1:]
		at := folder + "/" + library
		if _, have := t[at]; have {
			continue
		}
		from := "lib/" + triplet(architecture) + "/" + library
		content, err := p.readAny(architecture, from, "usr/"+from)
		if err != nil {
			return err
		}
		t.file(at, 0o755, content)
		_, more, err := linkedWith(content)
		if err != nil {
			return fmt.Errorf("%s: %w", library, err)
		}
		libraries = append(libraries, more...)
	}
	return nil
}

// readAny reads a file out of the packages of an architecture, by the first path
// that any has.
func (p *parts) readAny(architecture string, paths ...string) ([]byte, error) {
	for _, path := range paths {
		for _, pkg := range p.lock.Packages {
			if pkg.Architecture != architecture {
				continue
			}
			b, err := os.ReadFile(filepath.Join(p.roots[rootOf(pkg.Name, architecture)], path))
			if err == nil || !errors.Is(err, fs.ErrNotExist) {
				return b, err
			}
		}
	}
	return nil, fmt.Errorf("no package for %s has %s: the list of packages lacks one", architecture, paths[0])
}

// linkedWith reads what a program needs: its loader, "" for none, and libraries.
func linkedWith(program []byte) (loader string, libraries []string, err error) {
	f, err := elf.NewFile(bytes.NewReader(program))
	if err != nil {
		return "", nil, fmt.Errorf("reading what it is linked with: %w", err)
	}
	if interp := f.Section(".interp"); interp != nil {
		b, err := interp.Data()
		if err != nil {
			return "", nil, fmt.Errorf("reading its loader: %w", err)
		}
		loader = strings.TrimRight(string(b), "\x00")
	}
	if libraries, err = f.ImportedLibraries(); err != nil {
		return "", nil, fmt.Errorf("reading what it is linked with: %w", err)
	}
	return loader, libraries, nil
}

// bundle joins the certificates of the authorities that Debian trusts, as its
// own tools do when the package is installed.
func bundle(root string) ([]byte, error) {
	names, err := filepath.Glob(filepath.Join(root, "usr/share/ca-certificates/mozilla/*.crt"))
	if err != nil || len(names) == 0 {
		return nil, errors.New("the package ca-certificates has no certificates")
	}
	slices.Sort(names)
	var all []byte
	for _, name := range names {
		b, err := os.ReadFile(name)
		if err != nil {
			return nil, fmt.Errorf("reading a certificate: %w", err)
		}
		all = append(append(all, bytes.TrimSpace(b)...), '\n')
	}
	return all, nil
}

// graft adds a folder's files.
func (t tree) graft(root string) error {
	return filepath.WalkDir(root, func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		content, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		inside, err := filepath.Rel(root, name)
		if err != nil {
			return err
		}
		t.file(filepath.ToSlash(inside), 0o644, content)
		return nil
	})
}
