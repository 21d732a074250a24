// Command picture draws docs/dashboards/night.svg: the panels of the dashboard while three servers share a hot session,
// and then their Redis hangs, is killed and comes back empty. It takes five minutes of real time:
//
//	go run ./verify/dashboards/picture
package main

import (
	"fmt"
	"image/color"
	"log"
	"math"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/font"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/plotutil"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgsvg"

	"github.com/hipflask/session/verify/dashboards"
)

const (
	dir    = "docs/dashboards"
	scrape = 5 * time.Second
)

func main() {
	if err := run(); err != nil {
		log.Fatal("picture: ", err)
	}
}

// moment is when something begins.
type moment struct {
	name string
	at   time.Time
}

func run() error {
	panels, rules, err := dashboards.Read(dir)
	if err != nil {
		return err
	}
	var tb testbed
	defer tb.close()
	f, err := dashboards.NewFleet(&tb, 3, 60, 5*time.Second, scrape)
	if err != nil {
		return err
	}
	moments, err := live(f)
	if err != nil {
		return err
	}
	canvas := vgsvg.New(960, vg.Length(190*(len(panels)/2+1)))
	tiles := draw.Tiles{Cols: 2, Rows: len(panels)/2 + 1, PadX: 16, PadY: 12, PadTop: 8, PadBottom: 8, PadLeft: 8}
	page := draw.New(canvas)
	page.SetColor(color.White)
	page.Fill(page.Rectangle.Path())
	for i, p := range panels {
		lines, err := linesOf(f, p, moments)
		if err != nil {
			return err
		}
		title := fmt.Sprintf("%s (%s)", p.Title, unit(p.FieldConfig.Defaults.Unit))
		if err := drawPanel(tiles.At(page, i%2, i/2), title, lines, moments); err != nil {
			return err
		}
	}
	var firing []line
	for _, r := range rules {
		times, err := f.Fires(r, moments[0].at, f.Now)
		if err != nil {
			return err
		}
		l := line{name: r.Alert}
		for _, t := range times {
			l.points = append(l.points, plotter.XY{X: t.Sub(moments[0].at).Minutes(), Y: float64(len(firing) + 1)})
		}
		if times != nil {
			firing = append(firing, l)
		}
	}
	n := len(panels)
	if err := drawPanel(tiles.At(page, n%2, n/2), "Alerts that fire", firing, moments); err != nil {
		return err
	}
	out, err := os.Create(dir + "/night.svg")
	if err != nil {
		return err
	}
	if _, err := canvas.WriteTo(out); err != nil {
		return err
	}
	return out.Close()
}

// live plays the night by the clock on the wall.
func live(f *dashboards.Fleet) (moments []moment, err error) {
	stop, crowd := make(chan struct{}), make(chan struct{})
	var clients sync.WaitGroup
	send := func(visitors []*dashboards.Visitor, pause time.Duration, until <-chan struct{}) {
		for _, v := range visitors {
			clients.Go(func() {
				for {
					v.Visit()
					select {
					case <-until:
						return
					case <-time.After(pause):
					}
				}
			})
		}
	}
	send(f.Visitors, time.Second, stop)
	defer clients.Wait()
	defer close(stop)
	f.Now = time.Now()
	ticks := time.NewTicker(scrape)
	defer ticks.Stop()
	for _, p := range []struct {
		name   string
		begin  func()
		length time.Duration
	}{
		{"", func() {}, time.Minute},
		{"hot session", func() { send(slices.Repeat(f.Visitors[:1], 40), 50*time.Millisecond, crowd) }, time.Minute},
		{"", func() { close(crowd) }, 20 * time.Second},
		{"hangs", f.Redis.Pause, 45 * time.Second},
		{"killed", func() { f.Redis.Resume(); f.Redis.Kill() }, 45 * time.Second},
		{"back, empty", f.Redis.Start, 70 * time.Second},
	} {
		p.begin()
		moments = append(moments, moment{p.name, f.Now})
		log.Print(p.length, " ", p.name)
		for range p.length / scrape {
			<-ticks.C
			if err := f.Scrape(); err != nil {
				return nil, err
			}
		}
	}
	return moments, nil
}

type line struct {
	name   string
	points plotter.XYs
}

// linesOf evaluates a panel's queries. What is 0 all the time is left out.
func linesOf(f *dashboards.Fleet, p dashboards.Panel, moments []moment) (lines []line, err error) {
	for _, target := range p.Targets {
		m, err := f.Evaluate(target.Expr, moments[0].at, f.Now)
		if err != nil {
			return nil, err
		}
		for _, s := range m {
			name := target.LegendFormat
			for key, value := range s.Metric.Map() {
				name = strings.ReplaceAll(name, "{{"+key+"}}", value)
			}
			l, most := line{name: name}, 0.0
			for _, point := range s.Floats {
				if math.IsNaN(point.F) {
					continue
				}
				most = max(most, point.F)
				x := time.UnixMilli(point.T).Sub(moments[0].at).Minutes()
				l.points = append(l.points, plotter.XY{X: x, Y: point.F})
			}
			if most > 0 {
				lines = append(lines, l)
			}
		}
	}
	return lines, nil
}

func unit(grafana string) string {
	switch grafana {
	case "reqps", "ops":
		return "per second"
	case "s":
		return "seconds"
	case "short", "none", "":
		return "number"
	}
	return grafana
}

// drawPanel draws a plot, and its legend on the right.
func drawPanel(c draw.Canvas, title string, lines []line, moments []moment) error {
	p := plot.New()
	p.Title.Text, p.X.Label.Text = title, ""
	p.Title.TextStyle.Font.Size = 11
	p.X.Tick.Marker = plot.TickerFunc(func(from, to float64) (ticks []plot.Tick) {
		for m := from; m <= to; m++ {
			ticks = append(ticks, plot.Tick{Value: m, Label: fmt.Sprint(m, " min")})
		}
		return ticks
	})
	p.Y.Min, p.X.Min, p.X.Max = 0, 0, 5
	p.Add(plotter.NewGrid())
	legend := plot.NewLegend()
	legend.Top, legend.Left, legend.TextStyle.Font.Size = true, true, 8
	for i, l := range lines {
		drawn, err := plotter.NewLine(l.points)
		if err != nil {
			return err
		}
		drawn.Color, drawn.Width = plotutil.Color(i), 1.5
		drawn.Dashes = [][]vg.Length{nil, {5, 2}, {1, 2}}[i/7%3]
		p.Add(drawn)
		legend.Add(l.name, drawn)
	}
	for _, m := range moments[1:] {
		x := m.at.Sub(moments[0].at).Minutes()
		mark, err := plotter.NewLine(plotter.XYs{{X: x, Y: 0}, {X: x, Y: p.Y.Max}})
		if err != nil {
			return err
		}
		mark.Color, mark.Dashes = color.Gray{150}, []vg.Length{2, 3}
		words, err := plotter.NewLabels(plotter.XYLabels{XYs: plotter.XYs{{X: x + 0.03, Y: p.Y.Max}},
			Labels: []string{m.name}})
		if err != nil {
			return err
		}
		words.TextStyle[0].Font.Size, words.TextStyle[0].YAlign = font.Length(8), draw.YTop
		p.Add(mark, words)
	}
	p.Draw(draw.Crop(c, 0, -150, 0, 0))
	legend.Draw(draw.Crop(c, c.Max.X-c.Min.X-146, 0, 0, -20))
	return nil
}

// testbed is what servertest needs of a test.
type testbed struct{ cleanups []func() }

func (t *testbed) Helper()                           {}
func (t *testbed) Fatalf(format string, args ...any) { log.Fatalf(format, args...) }
func (t *testbed) Cleanup(f func())                  { t.cleanups = append(t.cleanups, f) }

func (t *testbed) close() {
	for _, f := range slices.Backward(t.cleanups) {
		f()
	}
}
