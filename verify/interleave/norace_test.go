//go:build !race

package interleave

const raceDetector = false
