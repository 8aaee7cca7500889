package images

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
)

// The card's layout, in bytes. Partitions begin at multiples of 4 MiB, the erase block
// of SD cards. The boot partition holds both slots. The data partition is the last, and
// the board makes it as large as its card.
const (
	sector      = 512
	clusterSize = sector // only so can so small a partition be FAT32, which the firmware reads best
	bootStart   = 4 << 20
	dataBytes   = 12 << 20
	// slotReserve is the room for a slot to grow from one version to the next.
	slotReserve = 4 << 20
)

// cardLayout is the layout's only difference between a card for first boards and one
// for later boards too: the size of the boot partition, in bytes.
type cardLayout struct{ boot int64 }

func (o Options) cardLayout() cardLayout {
	if o.Later {
		return cardLayout{88 << 20} // two slots of three kernels
	}
	return cardLayout{44 << 20} // the image has less than 64,000,000 bytes
}

// dataStart is the offset of the data partition, imageSize the size of the image.
func (c cardLayout) dataStart() int64 { return bootStart + c.boot }
func (c cardLayout) imageSize() int64 { return c.dataStart() + dataBytes }

// fatOverhead bounds the part of the boot partition that FAT32 itself uses: two tables
// of four bytes a cluster, and reserved sectors.
func (c cardLayout) fatOverhead() int64 { return 2*4*(c.boot/clusterSize) + 64*sector }

// The identifiers of disk and file systems are fixed, so that all images are the same.
const (
	bootLabel = "BRAMBLE"
	dataLabel = "bramble-data"
	diskID    = 0xB4A3B1E5
	dataID    = "b4a3b1e0-2902-4012-8006-000000000001"
	hashSeed  = "b4a3b1e0-2902-4012-8006-000000000002"
	typeFAT   = 0x0c // FAT32, by block numbers
	typeLinux = 0x83
)

// roundToClusters returns the room that a file takes on the boot partition.
func roundToClusters(bytes int64) int64 { return (bytes + clusterSize - 1) / clusterSize * clusterSize }

func (b bootPartition) writeImage(ctx context.Context, t toolbox, o Options) (BuildResult, error) {
	if over := b.bytes + b.slot + slotReserve + b.layout.fatOverhead() - b.layout.boot; over > 0 {
		return BuildResult{}, fmt.Errorf("the boot partition is too small by %d KB, counting the room for an update: make the shop's folder smaller", over/1000+1)
	}
	o.progressf("boot partition: %d KB of %d, and as much again for updates", b.bytes/1000, b.layout.boot/1000)
	part, err := os.CreateTemp(filepath.Dir(o.Out), "."+filepath.Base(o.Out)+".*") // for the user alone: it has the rack key
	if err != nil {
		return BuildResult{}, fmt.Errorf("writing the image: %w", err)
	}
	defer os.Remove(part.Name()) // fails once it is renamed
	defer part.Close()
	_, err = part.WriteAt(b.layout.partitionTable(), 0)
	if err = errors.Join(err, part.Truncate(b.layout.imageSize())); err != nil {
		return BuildResult{}, fmt.Errorf("writing the image: %w", err)
	}
	if err := b.makeFAT(ctx, t, part.Name()); err != nil {
		return BuildResult{}, err
	}
	if err := b.layout.makeExt4(ctx, t, part.Name()); err != nil {
		return BuildResult{}, err
	}
	sum, err := hashFile(part.Name())
	if err = errors.Join(err, part.Sync()); err != nil {
		return BuildResult{}, fmt.Errorf("writing the image: %w", err)
	}
	if o.Manifest != "" {
		manifest, err := os.ReadFile(filepath.Join(b.stage, manifestName))
		if err != nil {
			return BuildResult{}, err
		}
		if err := writeFile(o.Manifest, manifest); err != nil {
			return BuildResult{}, err
		}
	}
	if err := os.Rename(part.Name(), o.Out); err != nil {
		return BuildResult{}, fmt.Errorf("writing the image: %w", err)
	}
	return BuildResult{Bytes: b.layout.imageSize(), SHA256: sum, Version: b.version}, nil
}

// makeFAT creates and fills the boot partition inside the image.
func (b bootPartition) makeFAT(ctx context.Context, t toolbox, image string) error {
	if _, err := t.run(ctx, "mkfs.vfat", "-F", "32", "-s", "1", "-n", bootLabel, "--invariant",
		"-h", strconv.Itoa(bootStart/sector), "--offset", strconv.Itoa(bootStart/sector), image, strconv.FormatInt(b.layout.boot>>10, 10)); err != nil {
		return fmt.Errorf("creating the boot partition: %w", err)
	}
	partition := fmt.Sprintf("%s@@%d", image, bootStart)
	// Folders one by one, in order: the place of a file must not depend on the order in
	// which a folder is listed.
	folders := map[string][]string{firstSlot: nil, secondSlot: nil, shopFolder: nil}
	for _, name := range b.names {
		dir := path.Dir(name)
		folders[dir] = append(folders[dir], filepath.Join(b.stage, filepath.FromSlash(name)))
		for ; dir != "."; dir = path.Dir(dir) {
			if _, known := folders[dir]; !known {
				folders[dir] = nil
			}
		}
	}
	for _, dir := range slices.Sorted(maps.Keys(folders)) { // a folder before those inside it
		if dir != "." {
			if _, err := t.run(ctx, "mmd", "-i", partition, "::/"+dir); err != nil {
				return fmt.Errorf("filling the boot partition: %w", err)
			}
		}
		if files := folders[dir]; len(files) > 0 {
			slices.Sort(files)
			args := append([]string{"-i", partition, "-Q"}, files...)
			if _, err := t.run(ctx, "mcopy", append(args, "::/"+dir+"/")...); err != nil {
				return fmt.Errorf("filling the boot partition: %w", err)
			}
		}
	}
	return nil
}

// makeExt4 creates the data partition's file system inside the image, empty, but prepared
// to grow: with group descriptors for 512 GB, and 512 inodes per group of 128 MB, because
// it holds few and large files.
func (c cardLayout) makeExt4(ctx context.Context, t toolbox, image string) error {
	if _, err := t.run(ctx, "mke2fs", "-q", "-t", "ext4", "-b", "4096", "-N", "512", "-L", dataLabel, "-U", dataID,
		"-O", "none,has_journal,ext_attr,resize_inode,dir_index,filetype,extent,64bit,flex_bg,sparse_super,large_file,huge_file,dir_nlink,extra_isize,metadata_csum",
		"-E", fmt.Sprintf("offset=%d,hash_seed=%s,resize=134217728,root_owner=0:0,nodiscard", c.dataStart(), hashSeed), "-J", "size=4",
		image, strconv.Itoa(dataBytes/4096)); err != nil {
		return fmt.Errorf("creating the data partition: %w", err)
	}
	return nil
}

// partitionTable returns the card's first sector: a master boot record without code.
func (c cardLayout) partitionTable() []byte {
	b := make([]byte, sector)
	binary.LittleEndian.PutUint32(b[440:], diskID)
	entry := func(n int, kind byte, start, bytes int64) {
		e := b[446+16*n:]
		// The old addresses by cylinder, head and sector: "use the block numbers".
		copy(e, []byte{0, 0xfe, 0xff, 0xff, kind, 0xfe, 0xff, 0xff})
		binary.LittleEndian.PutUint32(e[8:], uint32(start/sector))
		binary.LittleEndian.PutUint32(e[12:], uint32(bytes/sector))
	}
	entry(0, typeFAT, bootStart, c.boot)
	entry(1, typeLinux, c.dataStart(), dataBytes)
	b[510], b[511] = 0x55, 0xaa
	return b
}
