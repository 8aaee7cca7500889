package images

import (
	"bytes"
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

	"bramble/images/cardinit"
)

// startScript is the first program that the kernel starts.
//
//go:embed files/init
var startScript []byte

// inittab lists the programs that busybox's init keeps running.
//
//go:embed files/inittab
var inittab []byte

// profile is the start-up file of the shell on the serial console.
//
//go:embed files/profile
var profile []byte

// makeInitrd builds the start-up file system (initramfs), with all programs of
// the card, as a compressed archive. It stays the root file system.
func (b *builder) makeInitrd(ctx context.Context, kernels []kernelPackage) ([]byte, error) {
	t := cpioTree{}
	for _, dir := range []string{"proc", "sys", "dev", "run", "boot", "data", "etc", "root", "usr/bin", "usr/sbin"} {
		t.putFolder(dir, 0o755)
	}
	t.putFolder("tmp", 0o1777)
	// The kernel opens the console for the first program before /dev is mounted.
	t.putDevice("dev/console", 0o600, 5, 1)
	t.putDevice("dev/null", 0o666, 1, 3)
	t.putFile("init", 0o755, startScript)
	t.putFile("etc/inittab", 0o644, inittab)
	t.putFile("etc/profile", 0o644, profile)
	t.putFile("etc/modules", 0o644, []byte(strings.Join(allModules(b.options.platforms()), "\n")+"\n"))
	t.putFile("etc/passwd", 0o644, []byte("root::0:0:root:/root:/bin/sh\n"))
	t.putFile("etc/group", 0o644, []byte("root:x:0:\n"))
	// The name servers are written to a RAM file system.
	t.putLink("etc/resolv.conf", "/run/resolv.conf")
	t.putFile("etc/udhcpc.script", 0o755, []byte(cardinit.DHCPScript()))
	t.putLink("sbin/init", "/bin/busybox")
	t.putLink("bin/sh", "busybox")

	if err := b.addPrograms(t, kernels); err != nil {
		return nil, err
	}
	certificates, err := joinCertificates(b.packageRoot(allArchitectures))
	if err != nil {
		return nil, err
	}
	t.putFile("etc/ssl/certs/ca-certificates.crt", 0o644, certificates)
	staged := filepath.Join(b.work, "modules")
	for _, k := range kernels {
		if err := k.stageModules(ctx, b.tools, staged); err != nil {
			return nil, err
		}
	}
	if err := t.putTree(staged); err != nil {
		return nil, err
	}
	// Compressed by gzip, which a first Pi unpacks the fastest (DESIGN.md).
	compressed, err := gzipBytes(t.formatCPIO(b.lock.Dated))
	if err != nil {
		return nil, fmt.Errorf("compressing the start-up file system: %w", err)
	}
	return compressed, nil
}

// addPrograms adds Bramble, busybox, the tools for ext4, kexec, and their libraries.
func (b *builder) addPrograms(t cpioTree, kernels []kernelPackage) error {
	t.putFile("bin/bramble", 0o755, b.binary.content)
	first := armv6Platform().architecture
	busybox, err := b.readFirstOf(first, "bin/busybox", "usr/bin/busybox")
	if err != nil {
		return err
	}
	t.putFile("bin/busybox", 0o755, busybox)
	for _, name := range []string{"e2fsck", "mke2fs", "resize2fs", kexec} {
		if err := b.addProgram(t, first, "sbin/"+name, "sbin/"+name, "lib"); err != nil {
			return err
		}
	}
	for _, k := range kernels {
		if k.kexec == "" {
			continue
		}
		// They go beside the kernel's modules, which the first program removes if another
		// kernel runs. The program names the path of its loader, so that path is a link.
		folder := modulesFolder + k.version + "/programs"
		if err := b.addProgram(t, k.architecture, "sbin/"+kexec, folder+"/"+kexec, folder); err != nil {
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
	// modulesFolder holds a folder per kernel.
	modulesFolder = "lib/modules/"
)

// addProgram adds one of Debian's programs under a name, and its libraries to a folder.
func (b *builder) addProgram(t cpioTree, architecture, from, name, folder string) error {
	content, err := b.readFirstOf(architecture, from, "usr/"+from)
	if err != nil {
		return err
	}
	t.putFile(name, 0o755, content)
	libraries, err := linkedWith(content)
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	for _, library := range libraries {
		at := folder + "/" + library
		if _, have := t[at]; have {
			continue
		}
		if err := b.addProgram(t, architecture, "lib/"+libraryTriplet(architecture)+"/"+library, at, folder); err != nil {
			return err
		}
	}
	return nil
}

// readFirstOf reads a file from the packages of an architecture, by the first of the
// paths that one of them has.
func (b *builder) readFirstOf(architecture string, paths ...string) ([]byte, error) {
	for _, path := range paths {
		content, err := os.ReadFile(filepath.Join(b.packageRoot(architecture), path))
		if err == nil || !errors.Is(err, fs.ErrNotExist) {
			return content, err
		}
	}
	return nil, fmt.Errorf("no package for %s has %s: a package is missing from the list", architecture, paths[0])
}

// linkedWith returns the loader of a program, if it has one, and its libraries.
func linkedWith(program []byte) ([]string, error) {
	f, err := elf.NewFile(bytes.NewReader(program))
	if err != nil {
		return nil, fmt.Errorf("reading the list of its libraries: %w", err)
	}
	libraries, err := f.ImportedLibraries()
	if err != nil {
		return nil, fmt.Errorf("reading the list of its libraries: %w", err)
	}
	if interp := f.Section(".interp"); interp != nil {
		loader, err := interp.Data()
		if err != nil {
			return nil, fmt.Errorf("reading its loader: %w", err)
		}
		libraries = append(libraries, path.Base(strings.TrimRight(string(loader), "\x00")))
	}
	return libraries, nil
}

// joinCertificates joins the certificates of the authorities that Debian trusts, as
// Debian does when the package is installed.
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

func (c cpioTree) putTree(root string) error {
	files := os.DirFS(root)
	return fs.WalkDir(files, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		content, err := fs.ReadFile(files, name)
		c.putFile(name, 0o644, content)
		return err
	})
}
