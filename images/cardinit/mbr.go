package cardinit

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
)

// The master boot record is one sector that ends in a table of four partitions and
// a signature. Only the code that grows a partition is here.
const (
	sectorSize = 512
	mbrTable   = 446 // where the table begins
	mbrEntry   = 16  // bytes of one partition
	mbrType    = 4   // in an entry: the type of the partition
	mbrStart   = 8   // in an entry: first sector, little-endian
	mbrLength  = 12  // in an entry: sectors
	mbrLastCHS = 5   // in an entry: the last sector by cylinder, head and sector
	linuxType  = 0x83
	mbrBoot    = 510       // where the signature is
	cardAlign  = 8192      // sectors: 4 MiB, the erase block of most cards
	maxSectors = 1<<32 - 1 // of an entry: 2 TiB
)

// errNoPartition means that the card's layout is not the image's.
var errNoPartition = errors.New("the card's partition table is not the image's")

// partitionSpan is the position of a partition, in sectors.
type partitionSpan struct{ start, length uint32 }

// parsePartition reads an entry of a boot record, numbered from 1.
func parsePartition(mbr []byte, number int) (partitionSpan, error) {
	if len(mbr) != sectorSize || mbr[mbrBoot] != 0x55 || mbr[mbrBoot+1] != 0xaa {
		return partitionSpan{}, fmt.Errorf("%w: it has no signature", errNoPartition)
	}
	entry := mbr[mbrTable+(number-1)*mbrEntry:][:mbrEntry]
	s := partitionSpan{binary.LittleEndian.Uint32(entry[mbrStart:]), binary.LittleEndian.Uint32(entry[mbrLength:])}
	if entry[mbrType] == 0 || s.start == 0 || s.length == 0 || s.length > maxSectors-s.start {
		return partitionSpan{}, fmt.Errorf("%w: there is no partition %d", errNoPartition, number)
	}
	return s, nil
}

// growEntry returns the boot record with the last partition extended to the end of
// a card of n sectors, and whether that changes anything. It never shrinks a
// partition, and refuses a table in which another partition lies behind.
func growEntry(mbr []byte, number int, n int64) ([]byte, partitionSpan, bool, error) {
	s, err := parsePartition(mbr, number)
	if err != nil {
		return nil, partitionSpan{}, false, err
	}
	if mbr[mbrTable+(number-1)*mbrEntry+mbrType] != linuxType {
		return nil, partitionSpan{}, false, fmt.Errorf("%w: partition %d is not Linux's", errNoPartition, number)
	}
	for other := 1; other <= 4; other++ {
		if o, err := parsePartition(mbr, other); other != number && err == nil && o.start >= s.start {
			return nil, partitionSpan{}, false, fmt.Errorf("%w: partition %d lies behind partition %d", errNoPartition, other, number)
		}
	}
	end := min(n, maxSectors) / cardAlign * cardAlign
	if end <= int64(s.start)+int64(s.length) {
		return mbr, s, false, nil
	}
	s.length = uint32(end - int64(s.start))
	out := append([]byte(nil), mbr...)
	entry := out[mbrTable+(number-1)*mbrEntry:][:mbrEntry]
	binary.LittleEndian.PutUint32(entry[mbrLength:], s.length)
	copy(entry[mbrLastCHS:], []byte{0xfe, 0xff, 0xff}) // the customary value for "too large"
	return out, s, true, nil
}

// growTable writes the larger partition into the card's first sector. One
// sector is written completely or not at all, and the file system inside is grown
// later, so that a power cut at any moment leaves a good card.
func growTable(disk string, number int) (s partitionSpan, changed bool, err error) {
	f, err := os.OpenFile(disk, os.O_RDWR, 0)
	if err != nil {
		return s, false, fmt.Errorf("opening the card: %w", err)
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	size, err := f.Seek(0, io.SeekEnd)
	if err != nil {
		return s, false, fmt.Errorf("measuring the card: %w", err)
	}
	mbr := make([]byte, sectorSize)
	if _, err := f.ReadAt(mbr, 0); err != nil {
		return s, false, fmt.Errorf("reading the partition table: %w", err)
	}
	larger, s, changed, err := growEntry(mbr, number, size/sectorSize)
	if err != nil || !changed {
		return s, false, err
	}
	_, err = f.WriteAt(larger, 0)
	if err = errors.Join(err, f.Sync()); err != nil {
		return s, false, fmt.Errorf("writing the partition table: %w", err)
	}
	return s, true, nil
}
