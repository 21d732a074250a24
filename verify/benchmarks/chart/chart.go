// Package chart draws growth curves as SVG, to be read on light and on dark paper.
package chart

import (
	"fmt"
	"html"
	"math"
	"slices"
	"strings"
)

// Chart is a diagram with two logarithmic axes.
type Chart struct {
	Title  string
	X      string               // what the horizontal axis counts
	Y      string               // what the vertical axis measures
	Format func(float64) string // writes a value of the vertical axis
	Series []Series             // at most six
}

// Series is a line.
type Series struct {
	Name   string
	Points []Point
	Faint  bool // thin and dashed: a floor or a noise, to compare with
}

// Point is a point of a line; both values are positive.
type Point struct{ X, Y float64 }

// The drawing, in its own units, which a browser scales.
const (
	width, height            = 760, 400
	left, right, top, bottom = 84, 210, 56, 56
)

const style = `
	text { font: 13px system-ui, -apple-system, "Segoe UI", "DejaVu Sans", sans-serif; fill: #57606a }
	.title { font-size: 15px; font-weight: 600; fill: #1f2328 }
	.grid { stroke: #d8dee4; stroke-width: 1 }
	.axis { stroke: #8c959f; stroke-width: 1 }
	.line { fill: none; stroke-width: 2.25; stroke-linejoin: round; stroke-linecap: round }
	.faint { stroke-width: 1.5; stroke-dasharray: 4 5 }
	.name { font-weight: 600 }
	.c0 { stroke: #0969da } .f0 { fill: #0969da }
	.c1 { stroke: #bc4c00 } .f1 { fill: #bc4c00 }
	.c2 { stroke: #1a7f37 } .f2 { fill: #1a7f37 }
	.c3 { stroke: #8250df } .f3 { fill: #8250df }
	.c4 { stroke: #6e7781 } .f4 { fill: #6e7781 }
	.c5 { stroke: #9a6700 } .f5 { fill: #9a6700 }
	@media (prefers-color-scheme: dark) {
		text { fill: #9198a1 }
		.title { fill: #f0f6fc }
		.grid { stroke: #2f353d }
		.axis { stroke: #656c76 }
		.c0 { stroke: #58a6ff } .f0 { fill: #58a6ff }
		.c1 { stroke: #f0883e } .f1 { fill: #f0883e }
		.c2 { stroke: #3fb950 } .f2 { fill: #3fb950 }
		.c3 { stroke: #bc8cff } .f3 { fill: #bc8cff }
		.c4 { stroke: #9198a1 } .f4 { fill: #9198a1 }
		.c5 { stroke: #d29922 } .f5 { fill: #d29922 }
	}`

// axis maps values to places between two ends, by their logarithms.
type axis struct{ low, high, from, to float64 }

func (a axis) at(v float64) float64 {
	share := (math.Log10(v) - math.Log10(a.low)) / (math.Log10(a.high) - math.Log10(a.low))
	return a.from + share*(a.to-a.from)
}

// decades returns the powers of ten within the axis.
func (a axis) decades() (powers []float64) {
	for p := math.Pow(10, math.Ceil(math.Log10(a.low)-1e-9)); p <= a.high*(1+1e-9); p *= 10 {
		powers = append(powers, p)
	}
	return powers
}

// axes are as wide as the values, the vertical one in whole decades.
func (c Chart) axes() (x, y axis) {
	x = axis{math.Inf(1), math.Inf(-1), left, width - right}
	y = axis{math.Inf(1), math.Inf(-1), height - bottom, top}
	for _, s := range c.Series {
		for _, p := range s.Points {
			x.low, x.high = min(x.low, p.X), max(x.high, p.X)
			y.low, y.high = min(y.low, p.Y), max(y.high, p.Y)
		}
	}
	y.low = math.Pow(10, math.Floor(math.Log10(y.low)))
	y.high = math.Pow(10, math.Ceil(math.Log10(y.high)))
	if y.high <= y.low {
		y.high = y.low * 10
	}
	if x.high <= x.low {
		x.high = x.low * 10
	}
	return x, y
}

// SVG returns the drawing.
func (c Chart) SVG() []byte {
	var out strings.Builder
	x, y := c.axes()
	fmt.Fprintf(&out,
		`<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" width="%d" height="%d" `+
			`role="img" aria-label="%s">`,
		width, height, width, height, html.EscapeString(c.Title))
	fmt.Fprintf(&out, "\n<style>%s\n</style>\n", style)
	text(&out, left, 24, "title", "start", c.Title)
	text(&out, left, 44, "", "start", c.Y)
	text(&out, (left+width-right)/2, height-10, "", "middle", c.X)
	for _, v := range y.decades() {
		at := y.at(v)
		fmt.Fprintf(&out, `<line class="grid" x1="%d" x2="%d" y1="%.1f" y2="%.1f"/>`+"\n", left, width-right, at, at)
		text(&out, left-10, at+4.5, "", "end", c.Format(v))
	}
	fmt.Fprintf(&out, `<line class="axis" x1="%d" x2="%d" y1="%d" y2="%d"/>`+"\n", left, width-right,
		height-bottom, height-bottom)
	for _, v := range c.marks(x) {
		at := x.at(v)
		fmt.Fprintf(&out, `<line class="axis" x1="%.1f" x2="%.1f" y1="%d" y2="%d"/>`+"\n", at, at, height-bottom,
			height-bottom+5)
		text(&out, at, height-bottom+21, "", "middle", number(v))
	}
	for i, s := range c.Series {
		c.draw(&out, x, y, i, s)
	}
	c.names(&out, x, y)
	out.WriteString("</svg>\n")
	return []byte(out.String())
}

// marks returns the values of the horizontal axis that are written: those that were measured.
func (c Chart) marks(x axis) (marks []float64) {
	for _, s := range c.Series {
		for _, p := range s.Points {
			marks = append(marks, p.X)
		}
	}
	slices.Sort(marks)
	marks = slices.Compact(marks)
	// Not so near to each other that they overlap: the later one matters more.
	for i := len(marks) - 2; i >= 0; i-- {
		if x.at(marks[i+1])-x.at(marks[i]) < 48 {
			marks = slices.Delete(marks, i, i+1)
		}
	}
	return marks
}

func (c Chart) draw(out *strings.Builder, x, y axis, i int, s Series) {
	class := fmt.Sprintf("line c%d", i)
	if s.Faint {
		class += " faint"
	}
	var places []string
	for _, p := range s.Points {
		places = append(places, fmt.Sprintf("%.1f,%.1f", x.at(p.X), y.at(p.Y)))
	}
	fmt.Fprintf(out, `<polyline class="%s" points="%s"/>`+"\n", class, strings.Join(places, " "))
	if s.Faint {
		return
	}
	for _, p := range s.Points {
		fmt.Fprintf(out, `<circle class="f%d" cx="%.1f" cy="%.1f" r="3.5"/>`+"\n", i, x.at(p.X), y.at(p.Y))
	}
}

// names writes each line's name and last value at its end, apart from each other.
func (c Chart) names(out *strings.Builder, x, y axis) {
	const apart = 34
	type name struct {
		series int
		at     float64
	}
	var names []name
	for i, s := range c.Series {
		names = append(names, name{i, y.at(s.Points[len(s.Points)-1].Y)})
	}
	slices.SortFunc(names, func(a, b name) int { return int(math.Copysign(1, a.at-b.at)) })
	for i := 1; i < len(names); i++ {
		names[i].at = max(names[i].at, names[i-1].at+apart)
	}
	floor := float64(height - bottom - 8)
	for i := len(names) - 1; i >= 0 && names[i].at > floor; i-- {
		names[i].at, floor = floor, floor-apart
	}
	for _, n := range names {
		s := c.Series[n.series]
		last := s.Points[len(s.Points)-1]
		text(out, width-right+14, n.at, fmt.Sprintf("name f%d", n.series), "start", s.Name)
		text(out, width-right+14, n.at+16, "", "start", c.Format(last.Y)+" at "+number(last.X))
	}
}

func text(out *strings.Builder, x, y float64, class, anchor, s string) {
	fmt.Fprintf(out, `<text class="%s" x="%.1f" y="%.1f" text-anchor="%s">%s</text>`+"\n", class, x,
		y, anchor, html.EscapeString(s))
}

// number writes a count in the short form of axes.
func number(v float64) string {
	switch {
	case v >= 1e6:
		return fmt.Sprintf("%.3g million", v/1e6)
	case v >= 1000:
		return fmt.Sprintf("%.0f,%03.0f", math.Floor(v/1000), math.Mod(v, 1000))
	}
	return fmt.Sprintf("%.0f", v)
}
