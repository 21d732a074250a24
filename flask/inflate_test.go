package flask

import (
	"bytes"
	"compress/zlib"
	"encoding/binary"
	"encoding/hex"
	"hash/adler32"
	"io"
	"math/bits"
	"math/rand/v2"
	"strings"
	"testing"
)

const inflateLimit = 1 << 18

// streams are of every kind of block, of the longest codes and the farthest copies.
func streams(tb testing.TB) (list [][]byte) {
	tb.Helper()
	random := rand.New(rand.NewPCG(1, 2))
	noise := make([]byte, 33000)
	for i := range noise {
		noise[i] = byte(random.Uint32())
	}
	var steep []byte // the number of each byte is that of the two before together: codes as long as they can be
	for i, a, b := 0, 1, 1; i < 22; i, a, b = i+1, b, a+b {
		steep = append(steep, bytes.Repeat([]byte{byte(i)}, a)...)
	}
	for _, plain := range [][]byte{
		nil, []byte("a"), []byte(`{"a":1}`), noise[:300], steep, bytes.Repeat([]byte("a"), 70000),
		append(noise, noise...),
		[]byte(`{"_fresh":true,"_user_id":"42","cart":[` +
			strings.Repeat(`{"quantity":1,"sku":"A-0001"},`, 30) + `null]}`),
		append(append(bytes.Clone(noise[:300]), bytes.Repeat([]byte("0123456789abcdef"), 2030)...), noise[:300]...),
	} {
		for _, level := range []int{zlib.NoCompression, zlib.HuffmanOnly, zlib.BestSpeed, zlib.BestCompression} {
			var b bytes.Buffer
			w, err := zlib.NewWriterLevel(&b, level)
			if err != nil {
				tb.Fatal(err)
			}
			w.Write(plain[:len(plain)/2])
			w.Flush() // ends a block, and one without bytes comes
			w.Write(plain[len(plain)/2:])
			w.Close()
			list = append(list, b.Bytes())
		}
	}
	for _, made := range []string{ // by Python's zlib, and a stored block without bytes
		"789c4b4c4a0600024d0127", "789c4b4cc40700b04f0b5f", "789c030000000001", "7801010000ffff00000001",
	} {
		b, err := hex.DecodeString(made)
		if err != nil {
			tb.Fatal(err)
		}
		list = append(list, b)
	}
	return list
}

// reference is what compress/zlib says.
func reference(stream []byte) (plain []byte, ok bool) {
	src := bytes.NewReader(stream)
	r, err := zlib.NewReader(src)
	if err != nil {
		return nil, false
	}
	plain, err = io.ReadAll(io.LimitReader(r, inflateLimit+1))
	return plain, err == nil && len(plain) <= inflateLimit && src.Len() == 0
}

// compare inflates stream in both ways, as it is and with the checksum of what it holds, which no damage would leave
// right.
func compare(t *testing.T, z *inflater, stream []byte) {
	t.Helper()
	if len(stream) > 1 && stream[1]&0x20 != 0 {
		return // a preset dictionary
	}
	stream = bytes.Clone(stream)
	for range 2 {
		got, ok := z.inflate(append(z.src[:0], stream...), inflateLimit)
		want, wantOK := reference(stream)
		if ok != wantOK || ok && !bytes.Equal(got, want) {
			t.Fatalf("%x: got %.100q, %v; compress/zlib has %.100q, %v", stream[:min(len(stream), 200)],
				got, ok, want, wantOK)
		}
		if len(stream) < 6 {
			return
		}
		binary.BigEndian.PutUint32(stream[len(stream)-4:], adler32.Checksum(z.out))
	}
}

func TestInflate(t *testing.T) {
	t.Parallel()
	var z inflater
	for i, stream := range streams(t) {
		compare(t, &z, stream)
		if _, ok := z.inflate(bytes.Clone(stream), inflateLimit); !ok {
			t.Errorf("stream %d is not taken", i)
		}
		compare(t, &z, append(bytes.Clone(stream), 0))
		random := rand.New(rand.NewPCG(1, uint64(i)))
		for range min(len(stream), 40) {
			damaged := bytes.Clone(stream)
			damaged[random.IntN(min(len(stream), 200))] ^= 1 << random.IntN(8)
			compare(t, &z, damaged)
			compare(t, &z, stream[:random.IntN(len(stream))])
		}
	}
}

// TestInflateBound: nothing larger than the limit is returned, and little more is made of it.
func TestInflateBound(t *testing.T) {
	t.Parallel()
	var b bytes.Buffer
	w := zlib.NewWriter(&b)
	w.Write(make([]byte, 10<<20))
	w.Close()
	for limit, want := range map[int]bool{0: false, 10<<20 - 1: false, 10 << 20: true} {
		var z inflater
		plain, ok := z.inflate(bytes.Clone(b.Bytes()), limit)
		if ok != want || ok && len(plain) != 10<<20 {
			t.Errorf("with a limit of %d: got %v, %d bytes", limit, ok, len(plain))
		}
		if len(z.out) > limit+16<<10 {
			t.Errorf("with a limit of %d, %d bytes were made", limit, len(z.out))
		}
	}
}

// FuzzInflate: no bytes make it panic, and it takes what compress/zlib takes, for the same.
func FuzzInflate(f *testing.F) {
	for _, stream := range streams(f) {
		if len(stream) < 1000 {
			f.Add(stream)
		}
	}
	f.Fuzz(func(t *testing.T, stream []byte) {
		var z inflater
		compare(t, &z, stream)
		if len(stream) > 2 { // the same with a header
			compare(t, &z, append([]byte{0x78, 0x9c}, stream...))
		}
	})
}

// stream is a compressed stream that is written bit by bit.
type stream struct {
	b []byte
	n int
}

// put writes a number of k bits.
func (s *stream) put(v, k int) *stream {
	for i := range k {
		if s.n%8 == 0 {
			s.b = append(s.b, 0)
		}
		s.b[s.n/8] |= byte(v>>i&1) << (s.n % 8)
		s.n++
	}
	return s
}

// code writes a code of k bits, which begins at the other end.
func (s *stream) code(v, k int) *stream { return s.put(int(bits.Reverse16(uint16(v))>>(16-k)), k) }

func fixedBlock() *stream { return new(stream).put(0x9c78, 16).put(1, 1).put(1, 2) }

// far is a fixed block behind one of 65,535 bytes.
func far() *stream {
	s := new(stream).put(0x9c78, 16).put(0, 8).put(0xffff, 32)
	s.b, s.n = append(s.b, make([]byte, 0xffff)...), s.n+8*0xffff
	return s.put(1, 1).put(1, 2)
}

// dynamicBlock begins a block that has codes of these lengths.
func dynamicBlock(symbols, offsets []int) *stream {
	s := new(stream).put(0x9c78, 16).put(1, 1).put(2, 2).put(len(symbols)-257, 5).put(len(offsets)-1, 5).put(19-4, 4)
	for i := range 19 {
		s.put(map[bool]int{true: 0, false: 4}[i < 3], 3) // four bits for each length, no repetition
	}
	for _, length := range append(symbols, offsets...) {
		s.code(length, 4)
	}
	return s
}

// lengths gives symbols a length; all others have none.
func lengths(n int, of map[int]int) []int {
	list := make([]int, n)
	for symbol, length := range of {
		list[symbol] = length
	}
	return list
}

func TestInflateEdges(t *testing.T) {
	t.Parallel()
	const a, end = 0x30 + 'a', 0 // in the fixed code
	ab := map[int]int{'a': 1, 256: 1}
	var z inflater
	for name, c := range map[string]struct {
		s    *stream
		want bool
	}{
		"fixed":                      {fixedBlock().code(a, 8).code(1, 7).code(0, 5).code(end, 7), true},
		"length 286":                 {fixedBlock().code(a, 8).code(0xc6, 8).code(0, 5).code(end, 7), false},
		"length 287":                 {fixedBlock().code(a, 8).code(0xc7, 8).code(0, 5).code(end, 7), false},
		"distance 30 of a long text": {far().code(1, 7).code(30, 5).put(0, 14).code(end, 7), false},
		"the farthest distance":      {far().code(1, 7).code(29, 5).put(1<<13-1, 13).code(end, 7), true},
		"distance 30":                {fixedBlock().code(a, 8).code(1, 7).code(30, 5).code(end, 7), false},
		"before the beginning":       {fixedBlock().code(a, 8).code(1, 7).code(1, 5).code(end, 7), false},
		"a block of the fourth kind": {new(stream).put(0x9c78, 16).put(1, 1).put(3, 2).put(0, 5), false},
		"a smaller window":           {new(stream).put(0x1d08, 16).put(1, 1).put(1, 2).code(end, 7), true},
		"a larger window":            {new(stream).put(0x1c88, 16).put(1, 1).put(1, 2).code(end, 7), false},
		"a preset dictionary":        {new(stream).put(0x2078, 16).put(1, 1).put(1, 2).code(end, 7), false},
		"another method":             {new(stream).put(0x0977, 16).put(1, 1).put(1, 2).code(end, 7), false},
		"no distances":               {dynamicBlock(lengths(257, ab), []int{0}).code(0, 1).code(1, 1), true},
		"no distances, but one used": {dynamicBlock(lengths(258, map[int]int{'a': 1, 256: 2, 257: 2}), []int{0}).code(0,
			1).code(3, 2).put(0, 1).code(2, 2), false},
		"one distance": {dynamicBlock(lengths(258, map[int]int{'a': 1, 256: 2, 257: 2}), []int{1}).code(0,
			1).code(3, 2).code(0, 1).code(2, 2), true},
		"one distance, another used": {dynamicBlock(lengths(258, map[int]int{'a': 1, 256: 2, 257: 2}), []int{1}).code(0,
			1).code(3, 2).code(1, 1).code(2, 2), false},
		"one distance of two bits": {dynamicBlock(lengths(257, ab), []int{2}).code(0, 1).code(1, 1), false},
		"too many symbols": {dynamicBlock(lengths(257, map[int]int{'a': 1, 'b': 1, 256: 1}),
			[]int{0}).code(0, 1).code(1, 1), false},
		"too few symbols": {dynamicBlock(lengths(257, map[int]int{'a': 1, 256: 2}), []int{0}).code(0,
			1).code(2, 2), false},
		"286 symbols, 30 distances": {dynamicBlock(lengths(286, ab), make([]int, 30)).code(0, 1).code(1, 1), true},
		"287 symbols":               {dynamicBlock(lengths(287, ab), []int{0}).code(0, 1).code(1, 1), false},
		"31 distances":              {dynamicBlock(lengths(257, ab), make([]int, 31)).code(0, 1).code(1, 1), false},
		"a repetition at the beginning": {new(stream).put(0x9c78, 16).put(1, 1).put(2, 2).put(0, 10).put(18-4, 4).
			put(2, 3).put(0, 3).put(2, 3).put(2, 3).put(0, 13*3).put(2, 3). // 0, 1, 16 and 18 have two bits
			code(2, 2).put(3, 2).code(3, 2).put(91-11, 7).code(1, 2).code(3, 2).put(127, 7).code(3, 2).put(158-138-11,
			7).code(1, 2).code(0, 2).
			code(0, 1).code(1, 1), false},
		"a header without codes":       {new(stream).put(0x9c78, 16).put(1, 1).put(2, 2).put(0, 14).put(0, 12), false},
		"nothing but the end's symbol": {dynamicBlock(lengths(257, map[int]int{256: 1}), []int{0}).code(0, 1), true},
	} {
		stream := append(c.s.b, 0, 0, 0, 0)
		z.inflate(bytes.Clone(stream), inflateLimit)
		binary.BigEndian.PutUint32(stream[len(stream)-4:], adler32.Checksum(z.out))
		if _, ok := z.inflate(bytes.Clone(stream), inflateLimit); ok != c.want {
			t.Errorf("%s: got %v, want %v", name, ok, c.want)
		}
		compare(t, &z, stream)
	}
}
