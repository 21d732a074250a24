// Package steps checks that what a request can make us do is linear in its bytes.
//
// It counts steps, not time, so a busy machine makes no difference. A step is one run of a basic block, which the
// counters of the compiler's own coverage count in every function of this repository and of the packages of the
// standard library that parsers use, or 16 bytes that are allocated. So the parsers have no counters in their code. The
// counters can be read only by a program that is built with -cover: counter is that program, and the tests send it one
// input after another.
//
// A parser of quadratic time fails by far: at the sizes that are tested it takes hundreds of times as many steps as the
// bound allows. The fuzz targets look for inputs beyond the same bound:
//
//	go test ./verify/steps -run '^$' -fuzz FuzzPickle
package steps
