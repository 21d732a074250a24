package filestore

import (
	"bytes"
	"os"
	"reflect"
	"testing"
	"time"

	"github.com/hipflask/session/store"
)

// FuzzSlot feeds decode with bytes that may be a slot: it must not panic, and what it takes for a slot it must read as
// it was written.
func FuzzSlot(f *testing.F) {
	f.Add([]byte(nil))
	f.Add(make([]byte, slotSize))
	for _, rec := range slotRecords() {
		f.Add(encode(make([]byte, 0, slotSize), &rec, 7, 8, 9, extent{}))
		f.Add(encode(make([]byte, 0, slotSize), &rec, 7, 8, 9, extent{at: pageSize, sum: 1}))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		raw = raw[:min(len(raw), slotSize)]
		readAll(t, raw)
		if len(raw) < offTexts {
			return
		}
		// A mutated slot hardly ever gets past the checksum. With one that fits, the lengths within are what is tried.
		raw = bytes.Clone(raw)
		copy(raw, slotMagic)
		le.PutUint32(raw[offLen:], uint32(len(raw)))
		seal(raw, le.Uint64(raw[offSeq:]))
		readAll(t, raw)
	})
}

// readAll decodes raw as slots of a page and checks that what it says, encoded again, is the same.
func readAll(t *testing.T, raw []byte) {
	s, st := decode(raw)
	var slots [2]slot
	decodePage(raw, &slots)
	if st != valid {
		return
	}
	if n := len(s.key) + len(s.principal) + len(s.label) + len(s.movedTo) + len(s.handle) + len(s.public) +
		len(s.inline); n != len(s.raw)-offTexts {
		t.Fatalf("got texts and data of %d bytes in a slot of %d", n, len(s.raw))
	}
	rec := s.record()
	rec.Data = s.inline
	ext := extent{at: s.at, sum: le.Uint64(s.raw[offDataSum:])}
	if s.at != 0 {
		return // the data is elsewhere
	}
	again := encode(make([]byte, 0, slotSize), &rec, s.seq, s.born, s.queued, ext)
	if !bytes.Equal(again, s.raw) {
		t.Fatalf("slot %x\nencoded again: %x", s.raw, again)
	}
}

func slotRecords() []store.Record {
	at := time.UnixMilli(1_700_000_000_123).UTC()
	return []store.Record{
		{Key: "k"},
		{Key: "key", Version: 1, Principal: "alice", CreatedAt: at, LastSeenAt: at.Add(1), ExpiresAt: at.Add(time.Hour),
			Data: []byte("{}")},
		{
			Key: "key", Version: 1<<63 - 1, Principal: "älice", Label: "Firefox", Kind: store.Renewed,
			MovedTo: "next", Handle: "handle",
			Public:    []byte(`{"a":1}`),
			CreatedAt: at, LastSeenAt: at, ExpiresAt: time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC),
			Data: bytes.Repeat([]byte{0, 255}, 500),
		},
	}
}

func TestSlotRoundTrip(t *testing.T) {
	t.Parallel()
	for i, want := range slotRecords() {
		raw := encode(make([]byte, 0, slotSize), &want, 7, 8, 9, extent{})
		s, st := decode(raw)
		if st != valid || s.seq != 7 || s.born != 8 || s.queued != 9 {
			t.Fatalf("record %d: got state %v and slot %+v", i, st, s)
		}
		got := s.record()
		got.Data = append([]byte(nil), s.inline...)
		for _, tm := range []*time.Time{&want.CreatedAt, &want.LastSeenAt, &want.ExpiresAt} {
			*tm = tm.Truncate(time.Millisecond).UTC()
		}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("record %d: got %+v\nwant %+v", i, got, want)
		}
	}
}

// Every bit counts: a slot with one flipped is none.
func TestSlotRefusesFlippedBits(t *testing.T) {
	t.Parallel()
	for i, rec := range slotRecords() {
		for _, ext := range []extent{{}, {at: 3 * pageSize, sum: 5}} {
			raw := encode(make([]byte, 0, slotSize), &rec, 7, 8, 9, ext)
			for bit := range 8 * len(raw) {
				raw[bit/8] ^= 1 << (bit % 8)
				if s, st := decode(raw); st == valid {
					t.Fatalf("record %d: bit %d of %d flipped, got slot %+v", i, bit, 8*len(raw), s)
				} else if st == empty {
					t.Fatalf("record %d: bit %d flipped, got an empty slot, want a torn one", i, bit)
				}
				raw[bit/8] ^= 1 << (bit % 8)
			}
			for n := range len(raw) {
				if _, st := decode(raw[:n]); st == valid || st == empty && n > 0 {
					t.Fatalf("record %d: cut to %d of %d bytes, got state %v", i, n, len(raw), st)
				}
			}
		}
	}
}

// What a Load can see while a slot is overwritten, in any order of words, is the old slot, the new one, or none.
func TestSlotMixtures(t *testing.T) {
	t.Parallel()
	recs := slotRecords()
	a := encode(make([]byte, 0, slotSize), &recs[1], 1, 8, 9, extent{})
	rec := recs[1]
	rec.Version, rec.Data = 2, []byte("[]")
	b := encode(make([]byte, 0, slotSize), &rec, 3, 8, 9, extent{})
	mixed := make([]byte, len(a))
	for mask := range 1 << 18 {
		for i := range mixed {
			if mixed[i] = a[i]; mask>>(i/8)&1 == 1 {
				mixed[i] = b[i]
			}
		}
		if _, st := decode(mixed); st == valid && !bytes.Equal(mixed, a) && !bytes.Equal(mixed, b) {
			t.Fatalf("mixture %#x of two slots is taken for a third", mask)
		}
	}
}

// The format of the files is a promise to who upgrades while a program runs.
func TestSlotGolden(t *testing.T) {
	t.Parallel()
	rec := slotRecords()[2]
	got := encode(make([]byte, 0, slotSize), &rec, 7, 8, 9, extent{})
	want, err := os.ReadFile("testdata/slot.bin")
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("got slot %x\nwant %x", got, want)
	}
	if got, want := nameOf("key").path(), "sessions/fr/yock32azdpsitz6qt4pm4oom2nrzjy"; got != want {
		t.Errorf("path of a record: got %s, want %s", got, want)
	}
	alice, stamp := tagOf("alice")
	if got, want := alice.entry(nameOf("key")), "principals/fp/mansl7byfryock32azdpsitz6qt4pm4oom2nrzjy"; got != want {
		t.Errorf("path of an entry: got %s, want %s", got, want)
	}
	if want := 28304; stamp != want {
		t.Errorf("place of a stamp: got %d, want %d", stamp, want)
	}
}

func TestLine(t *testing.T) {
	t.Parallel()
	want := line{due: 1_700_000_000_123, name: nameOf("key")}
	raw := want.encode()
	if got, ok := parseLine(raw[:]); !ok || got != want {
		t.Errorf("got line %+v, want %+v", got, want)
	}
	for bit := range 8 * len(raw) {
		raw[bit/8] ^= 1 << (bit % 8)
		if got, ok := parseLine(raw[:]); ok {
			t.Errorf("bit %d flipped: got line %+v", bit, got)
		}
		raw[bit/8] ^= 1 << (bit % 8)
	}
}
