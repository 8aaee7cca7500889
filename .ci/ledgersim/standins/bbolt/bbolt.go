// Package bbolt stands in for go.etcd.io/bbolt, which does not compile for wasip1.
// raft-wal imports it for its own meta store, which the ledger does not use.
package bbolt

import (
	"errors"
	"io/fs"
)

var errStandIn = errors.New("the simulation has no bbolt")

// Options are bbolt's.
type Options struct{}

// Open fails.
func Open(string, fs.FileMode, *Options) (*DB, error) { return nil, errStandIn }

// DB is never opened.
type DB struct{}

// Begin fails.
func (*DB) Begin(bool) (*Tx, error) { return nil, errStandIn }

// Close fails.
func (*DB) Close() error { return errStandIn }

// Tx never begins.
type Tx struct{}

// Rollback fails.
func (*Tx) Rollback() error { return errStandIn }

// Commit fails.
func (*Tx) Commit() error { return errStandIn }

// CreateBucket fails.
func (*Tx) CreateBucket([]byte) (*Bucket, error) { return nil, errStandIn }

// Bucket returns an empty bucket.
func (*Tx) Bucket([]byte) *Bucket { return &Bucket{} }

// Bucket is always empty.
type Bucket struct{}

// Get returns nothing.
func (*Bucket) Get([]byte) []byte { return nil }

// Put fails.
func (*Bucket) Put(_, _ []byte) error { return errStandIn }

// Delete fails.
func (*Bucket) Delete([]byte) error { return errStandIn }
