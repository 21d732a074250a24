//go:build !race

package guessable

const raceEnabled = false
