//go:build race

package interleave

// The race detector makes a run several times slower.
const raceDetector = true
