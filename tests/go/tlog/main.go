// Command tlog verifies a copy of the log with Go's own packages, which share nothing with ours: the checkpoint with
// sumdb/note, tiles, inclusion and consistency with sumdb/tlog. It reads the names of C2SP tlog-tiles.
//
//	tlog <key> <directory> <first entry> [<file with an earlier checkpoint>...]
//	tlog proof <key> <file with a proof of c2sp.org/tlog-proof@v1>...
package main

import (
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"log"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

// height of a tile, and width as entries of a bundle.
const (
	height = 8
	width  = 1 << height
)

// samples is how many entries, and how many earlier sizes, are proven.
const samples = 200

type directory string

func main() {
	log.SetFlags(0)
	if len(os.Args) < 4 {
		log.Fatal("expected a key, a directory and the first entry")
	}
	if os.Args[1] == "proof" {
		for _, file := range os.Args[3:] {
			proven(os.Args[2], file)
		}
		return
	}
	first, err := strconv.ParseInt(os.Args[3], 10, 64)
	check(err)
	dir := directory(os.Args[2])
	tree := checkpoint(os.Args[1], filepath.Join(os.Args[2], "checkpoint"))
	hashes := tlog.TileHashReader(tree, dir)
	step := max(1, (tree.N-first)/samples)
	for index := first; index < tree.N; index += step {
		included(tree, hashes, dir, index)
	}
	included(tree, hashes, dir, tree.N-1)
	for size := max(1, first); size < tree.N; size += step {
		root, err := tlog.TreeHash(size, hashes)
		check(err)
		continues(tree, hashes, tlog.Tree{N: size, Hash: root})
	}
	for _, file := range os.Args[4:] {
		continues(tree, hashes, checkpoint(os.Args[1], file))
	}
	fmt.Println("verified", tree.N)
}

// proven checks a proof that stands alone; its extra data is the entry.
func proven(key, file string) {
	text, err := os.ReadFile(file)
	check(err)
	head, signed, found := strings.Cut(string(text), "\n\n")
	lines := strings.Split(head, "\n")
	if !found || len(lines) < 3 || lines[0] != "c2sp.org/tlog-proof@v1" {
		log.Fatal("not a proof")
	}
	entry, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(lines[1], "extra "))
	check(err)
	index, err := strconv.ParseInt(strings.TrimPrefix(lines[2], "index "), 10, 64)
	check(err)
	var hashes tlog.RecordProof
	for _, line := range lines[3:] {
		hash, err := base64.StdEncoding.DecodeString(line)
		check(err)
		hashes = append(hashes, tlog.Hash(hash))
	}
	tree := opened(key, []byte(signed))
	check(tlog.CheckRecord(hashes, tree.N, tree.Hash, index, tlog.RecordHash(entry)))
	fmt.Println("proven", index, "of", tree.N)
}

// checkpoint opens a signed checkpoint.
func checkpoint(key, file string) tlog.Tree {
	text, err := os.ReadFile(file)
	check(err)
	return opened(key, text)
}

func opened(key string, text []byte) tlog.Tree {
	verifier, err := note.NewVerifier(key)
	check(err)
	opened, err := note.Open(text, note.VerifierList(verifier))
	check(err)
	lines := strings.Split(opened.Text, "\n")
	size, err := strconv.ParseInt(lines[1], 10, 64)
	check(err)
	root, err := base64.StdEncoding.DecodeString(lines[2])
	check(err)
	return tlog.Tree{N: size, Hash: tlog.Hash(root)}
}

// included proves an entry.
func included(tree tlog.Tree, hashes tlog.HashReader, dir directory, index int64) {
	entry, err := dir.entry(tree.N, index)
	check(err)
	proof, err := tlog.ProveRecord(tree.N, index, hashes)
	check(err)
	check(tlog.CheckRecord(proof, tree.N, tree.Hash, index, tlog.RecordHash(entry)))
}

// continues proves that the tree is the continuation of an older one.
func continues(tree tlog.Tree, hashes tlog.HashReader, old tlog.Tree) {
	proof, err := tlog.ProveTree(tree.N, old.N, hashes)
	check(err)
	check(tlog.CheckTree(proof, tree.N, tree.Hash, old.N, old.Hash))
}

// entry finds an entry in its bundle.
func (dir directory) entry(size, index int64) ([]byte, error) {
	tile := tlog.Tile{H: height, L: 0, N: index / width, W: int(min(width, size-index/width*width))}
	rest, err := dir.read("tile/entries/" + strings.TrimPrefix(tile.Path(), "tile/8/0/"))
	for ; err == nil && len(rest) >= 2; index-- {
		length := int(binary.BigEndian.Uint16(rest))
		if len(rest) < 2+length {
			break
		}
		if index%width == 0 {
			return rest[2 : 2+length], nil
		}
		rest = rest[2+length:]
	}
	return nil, errors.Join(err, fmt.Errorf("the bundle has no entry %d", index))
}

func (dir directory) read(name string) ([]byte, error) {
	return os.ReadFile(filepath.Join(string(dir), filepath.FromSlash(name)))
}

// Height is of tlog.TileReader, as are the two that follow.
func (directory) Height() int { return height }

func (dir directory) ReadTiles(tiles []tlog.Tile) ([][]byte, error) {
	var all [][]byte
	for _, tile := range tiles {
		bytes, err := dir.read("tile/" + strings.TrimPrefix(tile.Path(), "tile/8/"))
		if err != nil {
			return nil, err
		}
		all = append(all, bytes)
	}
	return all, nil
}

func (directory) SaveTiles([]tlog.Tile, [][]byte) {}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
