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

// makeInitrd makes the start-up file system, which stays the root: packed, with
// everything that runs on the card.
func (p *builder) makeInitrd(ctx context.Context, kernels []kernelPackage) ([]byte, error) {
	t := cpioTree{}
	for _, dir := range []string{"proc", "sys", "dev", "run", "boot", "data", "etc", "root", "usr/bin", "usr/sbin"} {
		t.putFolder(dir, 0o755)
	}
	t.putFolder("tmp", 0o1777)
	// The kernel opens the console for the first program before /dev is there.
	t.putDevice("dev/console", 0o600, 5, 1)
	t.putDevice("dev/null", 0o666, 1, 3)
	t.putFile("init", 0o755, startScript)
	t.putFile("etc/inittab", 0o644, inittab)
	t.putFile("etc/profile", 0o644, profile)
	t.putFile("etc/modules", 0o644, []byte(strings.Join(allModules(p.options.platforms()), "\n")+"\n"))
	t.putFile("etc/passwd", 0o644, []byte("root::0:0:root:/root:/bin/sh\n"))
	t.putFile("etc/group", 0o644, []byte("root:x:0:\n"))
	// What DHCP says is written to a RAM file system; this finds it.
	t.putLink("etc/resolv.conf", "/run/resolv.conf")
	t.putFile("etc/udhcpc.script", 0o755, p.options.DHCPScript)
	t.putLink("sbin/init", "/bin/busybox")
	t.putLink("bin/sh", "busybox")

	if err := p.addPrograms(t, kernels); err != nil {
		return nil, err
	}
	certificates, err := joinCertificates(p.packageRoot("ca-certificates"))
	if err != nil {
		return nil, err
	}
	t.putFile("etc/ssl/certs/ca-certificates.crt", 0o644, certificates)
	staged := filepath.Join(p.work, "modules")
	for _, k := range kernels {
		if err := k.stageModules(ctx, p.tools, staged); err != nil {
			return nil, err
		}
	}
	if err := t.putTree(staged); err != nil {
		return nil, err
	}
	return t.gzipCPIO(p)
}

// gzipCPIO writes the tree as the kernel takes it: by gzip, which a first Pi unpacks
// the fastest (DESIGN.md).
func (t cpioTree) gzipCPIO(p *builder) ([]byte, error) {
	var whole bytes.Buffer
	if err := t.writeCPIO(&whole, p.lock.Dated); err != nil {
		return nil, err
	}
	packed, err := gzipBytes(whole.Bytes())
	if err != nil {
		return nil, fmt.Errorf("packing the start-up file system: %w", err)
	}
	return packed, nil
}

// gzipBytes packs by gzip, without a name and a time.
func gzipBytes(content []byte) ([]byte, error) {
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

// addPrograms adds Bramble, busybox, the tools for ext4, the one that starts
// another kernel, and the libraries of these.
func (p *builder) addPrograms(t cpioTree, kernels []kernelPackage) error {
	t.putFile("bin/bramble", 0o755, p.binary.content)
	first := armv6Platform().architecture
	busybox, err := p.readFirstOf(first, "bin/busybox", "usr/bin/busybox")
	if err != nil {
		return err
	}
	t.putFile("bin/busybox", 0o755, busybox)
	for _, name := range []string{"e2fsck", "mke2fs", "resize2fs", kexec} {
		if err := p.addProgram(t, first, "sbin/"+name, "sbin/"+name, "lib"); err != nil {
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
		if err := p.addProgram(t, k.architecture, "sbin/"+kexec, folder+"/"+kexec, folder); err != nil {
			return err
		}
		t.putLink("sbin/"+k.kexec, "/"+folder+"/"+kexec)
		t.putLink("lib/"+libraryTriplet(k.architecture), "/"+folder)
		for name := range t {
			if base := path.Base(name); path.Dir(name) == folder && strings.HasPrefix(base, "ld-linux") {
				t.putLink("lib/"+base, "/"+name)
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

// addProgram adds a program of Debian's under a name, and its libraries to a folder.
func (p *builder) addProgram(t cpioTree, architecture, from, name, folder string) error {
	content, err := p.readFirstOf(architecture, from, "usr/"+from)
	if err != nil {
		return err
	}
	t.putFile(name, 0o755, content)
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
		from := "lib/" + libraryTriplet(architecture) + "/" + library
		content, err := p.readFirstOf(architecture, from, "usr/"+from)
		if err != nil {
			return err
		}
		t.putFile(at, 0o755, content)
		_, more, err := linkedWith(content)
		if err != nil {
			return fmt.Errorf("%s: %w", library, err)
		}
		libraries = append(libraries, more...)
	}
	return nil
}

// readFirstOf reads a file out of the packages of an architecture, by the first path
// that any has.
func (p *builder) readFirstOf(architecture string, paths ...string) ([]byte, error) {
	for _, path := range paths {
		for _, pkg := range p.lock.Packages {
			if pkg.Architecture != architecture {
				continue
			}
			b, err := os.ReadFile(filepath.Join(p.roots[rootName(pkg.Name, architecture)], path))
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

// joinCertificates joins the certificates of the authorities that Debian trusts, as its
// own tools do when the package is installed.
func joinCertificates(root string) ([]byte, error) {
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

// putTree adds a folder's files.
func (t cpioTree) putTree(root string) error {
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
		t.putFile(filepath.ToSlash(inside), 0o644, content)
		return nil
	})
}
