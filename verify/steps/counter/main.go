// Counter tells how many steps parsers take. It reads inputs from stdin, each as a line with the parser's name, in
// quotes, and the number of bytes, followed by these bytes; and writes the number of steps as a line to stdout.
package main

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"os"
	"runtime"
	"runtime/coverage"

	"github.com/hipflask/session/verify/steps"
)

func main() {
	in := bufio.NewReader(os.Stdin)
	for {
		var name string
		var size int
		if _, err := fmt.Fscanf(in, "%q %d\n", &name, &size); err == io.EOF {
			return
		} else if err != nil {
			fail(err)
		}
		data := make([]byte, size)
		if _, err := io.ReadFull(in, data); err != nil {
			fail(err)
		}
		n, err := count(steps.ByName(name).Prepare(data))
		if err != nil {
			fail(err)
		}
		fmt.Println(n)
	}
}

func fail(err error) {
	fmt.Fprintln(os.Stderr, "counter:", err)
	os.Exit(1)
}

// count runs parse and returns how many steps it took.
func count(parse func()) (uint64, error) {
	var before, after runtime.MemStats
	var counters bytes.Buffer
	runtime.ReadMemStats(&before)
	if err := coverage.ClearCounters(); err != nil {
		return 0, err
	}
	parse()
	if err := coverage.WriteCounters(&counters); err != nil {
		return 0, err
	}
	runtime.ReadMemStats(&after)
	blocks, err := sum(counters.Bytes())
	return blocks + (after.TotalAlloc-before.TotalAlloc)/16, err
}

// sum adds up the counters of a file as WriteCounters writes it (internal/coverage/defs.go): a header, the header of a
// segment, two tables whose lengths are there, padding, and for each function that ran the number of its counters, two
// IDs, and the counters, all in ULEB128.
func sum(file []byte) (total uint64, err error) {
	const header, segment, footer = 32, 16, 16
	if len(file) < header+segment+footer || string(file[:4]) != "\x00cwm" || file[24] != 2 {
		return 0, fmt.Errorf("this release of Go writes counters in an unknown form: % x",
			file[:min(len(file), header)])
	}
	functions := binary.LittleEndian.Uint64(file[header:])
	tables := binary.LittleEndian.Uint32(file[header+8:]) + binary.LittleEndian.Uint32(file[header+12:])
	at := (header + segment + int(tables) + 3) &^ 3
	next := func() uint64 {
		v, n := binary.Uvarint(file[min(at, len(file)):])
		if n <= 0 {
			err = fmt.Errorf("the counters end early")
		}
		at += n
		return v
	}
	for range functions {
		counters := next()
		next()
		next()
		for range counters {
			total += next()
			if err != nil {
				return 0, err
			}
		}
	}
	return total, err
}
