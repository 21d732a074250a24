package chart_test

import (
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/hipflask/session/verify/benchmarks/chart"
)

// TestSVG draws lines that end at the same place, and looks whether all of it is within the picture, and no two names
// lie over each other.
func TestSVG(t *testing.T) {
	t.Parallel()
	points := []chart.Point{{X: 1000, Y: 3}, {X: 100_000, Y: 50}, {X: 5e6, Y: 700}}
	c := chart.Chart{
		Title: "<title>", X: "sessions", Y: "time", Format: func(v float64) string { return fmt.Sprint(v) },
		Series: []chart.Series{{Name: "one", Points: points}, {Name: "two", Points: points},
			{Name: "three", Points: points, Faint: true}},
	}
	svg := string(c.SVG())
	for decoder := xml.NewDecoder(strings.NewReader(svg)); ; {
		if _, err := decoder.Token(); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
	}
	for _, want := range []string{"&lt;title&gt;", "5 million", "100,000", ">1<",
		">1000<", "prefers-color-scheme: dark"} {
		if !strings.Contains(svg, want) {
			t.Errorf("there is no %q in it", want)
		}
	}
	if strings.Contains(svg, "NaN") || strings.Contains(svg, "Inf") {
		t.Error("a place is no number")
	}
	for _, place := range regexp.MustCompile(`(-?[0-9.]+),(-?[0-9.]+)[ "]`).FindAllStringSubmatch(svg, -1) {
		x, _ := strconv.ParseFloat(place[1], 64)
		y, _ := strconv.ParseFloat(place[2], 64)
		if x < 84 || x > 550 || y < 56 || y > 344 {
			t.Errorf("the point %s is outside", place[0])
		}
	}
	var before float64
	for _, name := range regexp.MustCompile(`class="name f\d" x="[0-9.]+" y="([0-9.]+)"`).FindAllStringSubmatch(svg,
		-1) {
		y, _ := strconv.ParseFloat(name[1], 64)
		if y-before < 30 && before > 0 || y < 20 || y > 390 {
			t.Errorf("a name is at %v, the one before at %v", y, before)
		}
		before = y
	}
}
