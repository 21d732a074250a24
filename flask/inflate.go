package flask

import (
	"encoding/binary"
	"hash/adler32"
	"math/bits"
	"strings"
)

// inflater decompresses zlib streams (RFC 1950) that are in memory as a whole. It stands here instead of compress/zlib
// because inflating is most of what a request with Flask's cookie costs, and this takes 0.35 of the time for a session
// of 170 bytes: compress/flate reads byte by byte through an interface, clears and fills tables of 512 entries three
// times, and copies what it read twice. FuzzInflate holds it to take what that takes; streams with a preset dictionary
// excepted, which Flask refuses too.
type inflater struct {
	src     []byte // the compressed data, and zeros
	end     int    // where the zeros begin
	pos     int
	bits    uint64 // those before pos that have not been used, lowest first
	n       uint   // how many
	out     []byte
	lengths huffman // of the codes of the other two
	symbols huffman // literals, the end of the block, and how much is copied
	offsets huffman // how far from
}

// inflate returns what src holds, or ok=false if that is damaged, more than limit bytes, or followed by anything. It
// writes over the end of src and behind it. The result is good until the next call.
func (z *inflater) inflate(src []byte, limit int) (plain []byte, ok bool) {
	const deflate, largestWindow, preset = 8, 7, 0x20
	if len(src) < 6 || src[0]&15 != deflate || src[0]>>4 > largestWindow || src[1]&preset != 0 ||
		binary.BigEndian.Uint16(src)%31 != 0 {
		return nil, false
	}
	z.end = len(src) - 4
	sum := binary.BigEndian.Uint32(src[z.end:])
	var room [32]byte // as far as anything is read before the end is noticed
	z.src = append(src[:z.end], room[:]...)
	z.pos, z.bits, z.n, z.out = 2, 0, 0, z.out[:0]
	for final := uint(0); final == 0; {
		final = z.take(1)
		switch z.take(2) {
		case 0:
			ok = z.stored()
		case 1:
			ok = z.block(fixedSymbols, fixedOffsets, limit)
		case 2:
			ok = z.codes() && z.block(z.symbols.table, z.offsets.table, limit)
		default:
			ok = false
		}
		if !ok || z.used() > z.end || len(z.out) > limit {
			return nil, false
		}
	}
	return z.out, z.used() == z.end && adler32.Checksum(z.out) == sum
}

// used is how many bytes of src have been used, in part or as a whole.
func (z *inflater) used() int { return z.pos - int(z.n/8) }

// fill makes n 56 or more.
func (z *inflater) fill() {
	z.bits |= binary.LittleEndian.Uint64(z.src[z.pos:]) << z.n
	z.pos += int(63-z.n) / 8
	z.n |= 56
}

// more is fill, and says whether no more was used than src has.
func (z *inflater) more() bool {
	z.fill()
	return z.used() <= z.end
}

// take returns the next k bits as a number.
func (z *inflater) take(k uint) uint {
	if z.n < k {
		z.fill()
	}
	v := z.bits & (1<<k - 1)
	z.bits >>= k
	z.n -= k
	return uint(v)
}

// next returns the next symbol of a code. Its bits, at most 15, are there.
func (z *inflater) next(table []uint16) int {
	e := table[z.bits&uint64(len(table)-1)]
	z.bits >>= e & 15
	z.n -= uint(e & 15)
	return int(e >> 4)
}

// stored copies a block that is not compressed (RFC 1951, 3.2.4).
func (z *inflater) stored() bool {
	start := z.used() + 4
	size, check := binary.LittleEndian.Uint16(z.src[start-4:]), binary.LittleEndian.Uint16(z.src[start-2:])
	z.pos, z.bits, z.n = start+int(size), 0, 0
	if size != ^check || z.pos > z.end {
		return false
	}
	z.out = append(z.out, z.src[start:z.pos]...)
	return true
}

// block decodes a block whose codes are known (RFC 1951, 3.2.5).
func (z *inflater) block(symbols, offsets []uint16, limit int) bool {
	for {
		if z.n < 48 && (!z.more() || len(z.out) > limit) { // a round uses 48 at most
			return false
		}
		s := z.next(symbols)
		if s < 256 {
			z.out = append(z.out, byte(s))
			continue
		}
		if s == 256 || s > 285 {
			return s == 256
		}
		length := 258
		if s < 285 {
			length = 3 + z.number(s-257, 2)
		}
		if s = z.next(offsets); s > 29 {
			return false
		}
		start := len(z.out) - 1 - z.number(s, 1)
		if start < 0 {
			return false
		}
		for length > 0 { // the copy can be part of what is copied
			k := min(length, len(z.out)-start)
			z.out = append(z.out, z.out[start:start+k]...)
			length -= k
		}
	}
}

// number returns what s stands for: itself, or the first k+1 bits of a number and how many more follow.
func (z *inflater) number(s int, k uint) int {
	if s < 2<<k {
		return s
	}
	more := uint(s>>k) - 1
	return (1<<k|s&(1<<k-1))<<more + int(z.take(more))
}

// codes reads the codes of a block (RFC 1951, 3.2.7).
func (z *inflater) codes() bool {
	symbols := int(z.take(5)) + 257
	all := symbols + int(z.take(5)) + 1
	z.lengths.count, z.symbols.count, z.offsets.count = [16]int{}, [16]int{}, [16]int{}
	var lengths [19]int
	for _, s := range "\x10\x11\x12\x00\x08\x07\x09\x06\x0a\x05\x0b\x04\x0c\x03\x0d\x02\x0e\x01\x0f"[:z.take(4)+4] {
		lengths[s] = int(z.take(3))
	}
	for s, length := range lengths {
		z.lengths.add(s, length)
	}
	if !z.lengths.build() {
		return false
	}
	length := 0
	for i := 0; i < all; {
		if z.n < 14 && !z.more() { // here 14
			return false
		}
		repeat := 1
		switch s := z.next(z.lengths.table); {
		case s < 16:
			length = s
		case s == 16 && i > 0:
			repeat = 3 + int(z.take(2))
		case s == 17:
			length, repeat = 0, 3+int(z.take(3))
		case s == 18:
			length, repeat = 0, 11+int(z.take(7))
		default:
			return false
		}
		end := i + repeat
		if end > all {
			return false
		}
		for ; i < end && length > 0; i++ {
			if i < symbols {
				z.symbols.add(i, length)
			} else {
				z.offsets.add(i-symbols, length)
			}
		}
		i = end
	}
	return symbols <= 286 && all-symbols <= 30 && z.symbols.build() && z.offsets.build()
}

// huffman is a canonical code (RFC 1951, 3.2.2).
type huffman struct {
	count [16]int         // of the symbols for each length
	coded [16][288]uint16 // their entries of the table, by length
	table []uint16        // for each sequence of bits the symbol that it begins with, times 16, and its length
}

func (h *huffman) add(symbol, length int) {
	h.coded[length][h.count[length]] = uint16(symbol<<4 | length)
	h.count[length]++
}

// build makes the table. The code has to be complete, but for one of a single bit, and one without symbols.
func (h *huffman) build() bool {
	longest := 15
	for longest > 0 && h.count[longest] == 0 {
		longest--
	}
	h.table = append(h.table[:0], 511<<4) // no symbol
	code := 0
	for length := 1; length <= longest; length++ {
		h.table = append(h.table, h.table...) // the next bit is none of a shorter code
		code <<= 1
		for _, e := range h.coded[length][:h.count[length]] {
			h.table[bits.Reverse16(uint16(code))>>(16-length)] = e
			code++
		}
	}
	return code == 1<<longest || code == 1 && longest == 1 || longest == 0
}

// The codes of blocks that bring none (RFC 1951, 3.2.6).
var fixedSymbols, fixedOffsets = func() (_, _ []uint16) {
	var symbols, offsets huffman
	for s, length := range strings.Repeat("\x08", 144) + strings.Repeat("\x09", 112) + strings.Repeat("\x07", 24) +
		strings.Repeat("\x08", 8) {
		symbols.add(s, int(length))
	}
	for s := range 32 {
		offsets.add(s, 5)
	}
	symbols.build()
	offsets.build()
	return symbols.table, offsets.table
}()
