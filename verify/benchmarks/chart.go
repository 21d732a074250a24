package main

import (
	"math"
	"path/filepath"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/plotutil"
	"gonum.org/v1/plot/vg"
)

// chart is a diagram with two logarithmic axes.
type chart struct {
	title, x, y string               // what it shows, and what the axes do; x counts something
	format      func(float64) string // writes a value of the vertical axis
	series      []series             // positive values
}

type series struct {
	name   string
	points plotter.XYs
}

func (s *series) add(x int, y float64) { s.points = append(s.points, plotter.XY{X: float64(x), Y: y}) }

// draw writes a picture beside the document.
func (b *bench) draw(name string, c chart) error {
	if b.pictures == "" {
		return nil
	}
	p := plot.New()
	p.Title.Text, p.X.Label.Text, p.Y.Label.Text = c.title, c.x, c.y
	p.X.Scale, p.Y.Scale = plot.LogScale{}, plot.LogScale{}
	p.X.Tick.Marker = ticks(func(v float64) string { return thousands(int(v)) })
	p.Y.Tick.Marker = ticks(c.format)
	p.Legend.Top = true
	p.Add(plotter.NewGrid())
	for i, s := range c.series {
		line, points, err := plotter.NewLinePoints(s.points)
		if err != nil {
			return err
		}
		line.Color, points.Color, points.Shape = plotutil.Color(i), plotutil.Color(i), plotutil.Shape(i)
		p.Add(line, points)
		p.Legend.Add(s.name, line, points)
	}
	p.X.Max *= 8 // the lines' names stand there
	p.Y.Min, p.Y.Max = math.Pow(10, math.Floor(math.Log10(p.Y.Min))), math.Pow(10, math.Ceil(math.Log10(p.Y.Max)))
	return p.Save(20*vg.Centimeter, 11*vg.Centimeter, filepath.Join(b.pictures, name))
}

// ticks are the powers of ten, written by format.
func ticks(format func(float64) string) plot.Ticker {
	return plot.TickerFunc(func(low, high float64) []plot.Tick {
		all := plot.LogTicks{Prec: -1}.Ticks(low, high)
		for i := range all {
			if all[i].Label != "" {
				all[i].Label = format(all[i].Value)
			}
		}
		return all
	})
}
