package interleave

import (
	"fmt"
	"go/ast"
	"go/parser"
	gotoken "go/token"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// edit changes the core's source where a comment "// rule: NAME" stands: the statement or the case that begins on its
// line. It depends on that line's place in the syntax, not on its words.
type edit struct {
	at   string // NAME
	do   operation
	text string // Go code, or a name
}

type operation string

const (
	never   operation = "never"   // a condition, of if, case, return or an assignment, does not hold
	always  operation = "always"  // it holds
	remove  operation = "remove"  // a statement is left out
	instead operation = "instead" // other code stands in its place
	before  operation = "before"  // other code stands before it
	called  operation = "called"  // another function is called, the last one that the statement calls
)

// anchor is a place of a rule.
type anchor struct {
	file string
	line int
}

var anchorComment = regexp.MustCompile(`// (?:.*; )?rule: (\w+)$`)

// findAnchors returns the anchors of the core's sources, and the sources.
func findAnchors(t *testing.T, core string) (anchors map[string]anchor, sources map[string]string) {
	t.Helper()
	anchors, sources = map[string]anchor{}, map[string]string{}
	for _, folder := range []string{".", "internal/protocol"} {
		files, err := filepath.Glob(filepath.Join(core, folder, "*.go"))
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range files {
			if strings.HasSuffix(file, "_test.go") {
				continue
			}
			b, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			sources[file] = string(b)
			for i, line := range strings.Split(string(b), "\n") {
				found := anchorComment.FindStringSubmatch(line)
				if found == nil {
					continue
				}
				if a, taken := anchors[found[1]]; taken {
					t.Errorf("rule %s has two anchors: %s:%d and %s:%d", found[1], a.file, a.line, file, i+1)
				}
				anchors[found[1]] = anchor{file, i + 1}
			}
		}
	}
	return anchors, sources
}

// apply returns the source with the edit made in the line.
func (e *edit) apply(source string, line int) (string, error) {
	fset := gotoken.NewFileSet()
	file, err := parser.ParseFile(fset, "", source, parser.ParseComments)
	if err != nil {
		return "", err
	}
	var node ast.Node // the first that begins there
	ast.Inspect(file, func(n ast.Node) bool {
		switch n.(type) {
		case ast.Stmt:
			if node == nil && fset.Position(n.Pos()).Line == line {
				node = n
			}
		}
		return node == nil
	})
	if node == nil {
		return "", fmt.Errorf("no statement begins there")
	}
	offset := func(p gotoken.Pos) int { return fset.Position(p).Offset }
	splice := func(from, to gotoken.Pos, text string) string {
		return source[:offset(from)] + text + source[offset(to):]
	}
	switch e.do {
	case remove:
		return splice(node.Pos(), node.End(), ""), nil
	case instead:
		return splice(node.Pos(), node.End(), e.text), nil
	case before:
		return splice(node.Pos(), node.Pos(), e.text+"\n"), nil
	case called:
		var name *ast.Ident
		ast.Inspect(node, func(n ast.Node) bool {
			if c, ok := n.(*ast.CallExpr); ok && name == nil {
				switch f := c.Fun.(type) {
				case *ast.Ident:
					name = f
				case *ast.SelectorExpr:
					name = f.Sel
				}
			}
			return true
		})
		if name == nil {
			return "", fmt.Errorf("nothing is called there")
		}
		return splice(name.Pos(), name.End(), e.text), nil
	}
	cond := condition(node)
	if cond == nil {
		return "", fmt.Errorf("there is no single condition")
	}
	also := " && false"
	if e.do == always {
		also = " || true"
	}
	return splice(cond.Pos(), cond.End(), "("+source[offset(cond.Pos()):offset(cond.End())]+")"+also), nil
}

// condition returns what holds or doesn't in a statement or a case; nil: there are none, or several.
func condition(node ast.Node) ast.Expr {
	var list []ast.Expr
	switch n := node.(type) {
	case *ast.IfStmt:
		return n.Cond
	case *ast.CaseClause:
		list = n.List
	case *ast.ReturnStmt:
		list = n.Results
	case *ast.AssignStmt:
		list = n.Rhs
	}
	if len(list) != 1 {
		return nil
	}
	return list[0]
}

// edited returns the files that the ablation changes, as they are then.
func (a *ablation) edited(t *testing.T, core string) map[string]string {
	t.Helper()
	anchors, sources := findAnchors(t, core)
	files := map[string]string{}
	edits := slices.Clone(a.edits)
	// From the end of a file to its beginning, so that lines keep their numbers.
	slices.SortFunc(edits, func(x, y edit) int { return anchors[y.at].line - anchors[x.at].line })
	for _, e := range edits {
		where, ok := anchors[e.at]
		if !ok {
			t.Errorf("%s: no line of the core has the comment \"// rule: %s\"", a.rule, e.at)
			continue
		}
		text, ok := files[where.file]
		if !ok {
			text = sources[where.file]
		}
		text, err := e.apply(text, where.line)
		if err != nil {
			t.Errorf("%s: %s:%d, rule %s: %v", a.rule, where.file, where.line, e.at, err)
			continue
		}
		files[where.file] = text
	}
	return files
}

// Each anchor belongs to an ablation: a rule that none switches off is not shown to be needed.
func TestAnchorsAreUsed(t *testing.T) {
	anchors, _ := findAnchors(t, coreFolder(t))
	for _, a := range ablations {
		for _, e := range a.edits {
			delete(anchors, e.at)
		}
	}
	for name, a := range anchors {
		t.Errorf("%s:%d: no ablation switches rule %s off", a.file, a.line, name)
	}
}

func coreFolder(t *testing.T) string {
	core, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	return core
}
