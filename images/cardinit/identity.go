package cardinit

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
)

// maxSerial is the length of a serial number, in digits.
const maxSerial = 16

// normalizeSerial returns a serial number in lower-case hex digits, "" if s is none.
func normalizeSerial(s string) string {
	s = strings.ToLower(strings.Trim(s, "\x00 \t\r\n"))
	if s == "" || len(s) > maxSerial || strings.Trim(s, "0123456789abcdef") != "" || strings.Trim(s, "0") == "" {
		return ""
	}
	return s
}

// findSerial returns the board's serial number: from the kernel parameters, the
// device tree, or else the address of the network interface, which on the first boards is
// derived from the serial number.
func findSerial(params KernelParams, p Paths) (string, error) {
	if params.Serial != "" {
		return params.Serial, nil
	}
	if text, err := os.ReadFile(filepath.Join(p.Proc, "device-tree", "serial-number")); err == nil {
		if s := normalizeSerial(string(text)); s != "" {
			return s, nil
		}
	}
	if nic := findInterface(p.Sys); nic != "" {
		text, err := os.ReadFile(filepath.Join(p.Sys, "class", "net", nic, "address"))
		if s := normalizeSerial(strings.ReplaceAll(string(text), ":", "")); err == nil && s != "" {
			return s, nil
		}
	}
	return "", errors.New("this machine has no serial number")
}

// DefaultHostName is the host name of a card whose settings name none: the last four digits
// distinguish the boards of a rack.
func DefaultHostName(serial string) string {
	padded := "0000" + serial
	return "bramble-" + padded[len(padded)-4:]
}
