//go:build race

package guessable

const raceEnabled = true
