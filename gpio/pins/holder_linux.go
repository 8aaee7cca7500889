package pins

import (
	"fmt"
	"os"
	"runtime"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"
)

// lineUsed is GPIO_V2_LINE_FLAG_USED of linux/gpio.h.
const lineUsed = 1 << 0

// lineHolder returns the program that holds a line of a chip now, "" if none does.
// periph asks only once, at its start, and only for the lines that it finds then.
func lineHolder(chip string, line int) string {
	f, err := os.Open(chip)
	if err != nil {
		return ""
	}
	defer f.Close()
	info := unix.GPIOV2LineInfo{Offset: uint32(line)}
	_, _, errno := unix.Syscall(unix.SYS_IOCTL, f.Fd(), unix.GPIO_V2_GET_LINEINFO_IOCTL, uintptr(unsafe.Pointer(&info)))
	runtime.KeepAlive(f)
	if errno != 0 || info.Flags&lineUsed == 0 {
		return ""
	}
	return holderName(unix.ByteSliceToString(info.Consumer[:]), os.Getpid())
}

// holderName puts a line's consumer into words. periph's is program@pid; a line that
// this very process holds, from a panel that was open before, is free.
func holderName(consumer string, self int) string {
	if strings.HasSuffix(consumer, fmt.Sprintf("@%d", self)) {
		return ""
	}
	if consumer == "" {
		return "the kernel"
	}
	return fmt.Sprintf("%q", consumer)
}
