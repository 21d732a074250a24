package doctest

import (
	"fmt"
	"go/ast"
	"go/doc"
	"go/doc/comment"
	"go/parser"
	"go/token"
	"go/types"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// source is a package whose comments are checked.
type source struct {
	path     string // its import path
	fset     *token.FileSet
	files    []*ast.File
	comments *comment.Parser
}

func parseSource(path, dir string) (source, error) {
	s := source{path: path, fset: token.NewFileSet()}
	names, err := filepath.Glob(filepath.Join(dir, "*.go"))
	if err != nil {
		return s, err
	}
	for _, name := range names {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		f, err := parser.ParseFile(s.fset, name, nil, parser.ParseComments)
		if err != nil {
			return s, err
		}
		s.files = append(s.files, f)
	}
	p, err := doc.NewFromFiles(s.fset, s.files, path, doc.PreserveAST)
	if err != nil {
		return s, err
	}
	s.comments = p.Parser()
	return s, nil
}

// unresolved is text in brackets that was meant as a link to an exported name, but names nothing.
var unresolved = regexp.MustCompile(`\[\*?(\w+\.)?[A-Z]\w*(\.\w+)?\]`)

// check returns the Go code in the package's doc comments, the links to names of packages, and links that lead nowhere.
func (s source) check() (code []block, links []docLink, problems []problem) {
	for _, f := range s.files {
		ast.Inspect(f, func(n ast.Node) bool {
			group := docOf(n)
			if group == nil {
				return true
			}
			at := s.fset.Position(group.Pos())
			visit(s.comments.Parse(group.Text()).Content, func(b comment.Block) {
				if c, ok := b.(*comment.Code); ok {
					code = append(code, block{file: at.Filename, line: at.Line, language: "go", text: c.Text})
				}
			}, func(t comment.Text) {
				switch t := t.(type) {
				case comment.Plain:
					for _, name := range unresolved.FindAllString(string(t), -1) {
						problems = append(problems, problem{at.Filename, at.Line, name + " names nothing"})
					}
				case *comment.DocLink:
					path := t.ImportPath
					if path == "" {
						path = s.path
					}
					links = append(links, docLink{at.Filename, at.Line, path, t.Recv, t.Name})
				}
			})
			return true
		})
	}
	return code, links, problems
}

// docOf returns the doc comment of a declaration, a field or a file.
func docOf(n ast.Node) *ast.CommentGroup {
	switch n := n.(type) {
	case *ast.File:
		return n.Doc
	case *ast.GenDecl:
		return n.Doc
	case *ast.FuncDecl:
		return n.Doc
	case *ast.TypeSpec:
		return n.Doc
	case *ast.ValueSpec:
		return n.Doc
	case *ast.Field:
		return n.Doc
	}
	return nil
}

// visit calls block for all blocks and text for all of their texts.
func visit(blocks []comment.Block, block func(comment.Block), text func(comment.Text)) {
	for _, b := range blocks {
		block(b)
		var texts []comment.Text
		switch b := b.(type) {
		case *comment.Heading:
			texts = b.Text
		case *comment.Paragraph:
			texts = b.Text
		case *comment.List:
			for _, item := range b.Items {
				visit(item.Content, block, text)
			}
		}
		for _, t := range texts {
			text(t)
		}
	}
}

// docLink is a link in a doc comment, such as [Manager.Handler].
type docLink struct {
	file             string
	line             int
	path, recv, name string // recv: of a method or field; name: "" for a link to a package
}

// leads reports whether there is what l names.
func (l docLink) leads(packages types.Importer) error {
	p, err := packages.Import(l.path)
	if err != nil || l.name == "" {
		return err
	}
	name := l.name
	if l.recv != "" {
		name = l.recv
	}
	o := p.Scope().Lookup(name)
	if o != nil && l.recv != "" {
		o, _, _ = types.LookupFieldOrMethod(o.Type(), true, p, l.name)
	}
	if o == nil {
		return fmt.Errorf("%s has no %s", l.path, strings.TrimPrefix(l.recv+"."+l.name, "."))
	}
	return nil
}

// Code in comments compiles, and their links lead somewhere.
func TestComments(t *testing.T) {
	t.Parallel()
	needsWorkspace(t)
	c, err := workspace()
	if err != nil {
		t.Fatal(err)
	}
	var units []unit
	var links []docLink
	paths := map[string]bool{}
	for path, dir := range map[string]string{module: root,
		module + "/sessiontest": filepath.Join(root, "sessiontest")} {
		s, err := parseSource(path, dir)
		if err != nil {
			t.Fatal(err)
		}
		code, found, problems := s.check()
		if !slices.ContainsFunc(code, func(b block) bool { return strings.Contains(b.text, "func ") }) {
			t.Errorf("%s: no program in the package comment", path)
		}
		made, more := toUnits(code)
		for _, p := range append(problems, more...) {
			t.Error(p)
		}
		units, links = append(units, made...), append(links, found...)
	}
	for _, p := range c.check(units) {
		t.Error(p)
	}
	for _, l := range links {
		paths[l.path] = true
	}
	packages, err := c.importer(paths)
	if err != nil {
		t.Fatal(err)
	}
	if len(links) < 100 {
		t.Errorf("got %d links, want some hundred", len(links))
	}
	for _, l := range links {
		if err := l.leads(packages); err != nil {
			t.Error(problem{l.file, l.line, err.Error()})
		}
	}
}

func TestWrongComments(t *testing.T) {
	t.Parallel()
	needsWorkspace(t)
	c, err := workspace()
	if err != nil {
		t.Fatal(err)
	}
	packages, err := c.importer(map[string]bool{module: true, "errors": true})
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range []docLink{
		{path: module, name: "Session"},
		{path: module, recv: "Session", name: "Save"},
		{path: module, recv: "Config", name: "Store"},
		{path: module, recv: "Key", name: "Take"},
		{path: module, recv: "Codec", name: "Encode"},
		{path: "errors"},
	} {
		if err := l.leads(packages); err != nil {
			t.Errorf("got %v, want nil", err)
		}
	}
	for _, l := range []docLink{
		{path: module, name: "Nothing"},
		{path: module, recv: "Nothing", name: "Save"},
		{path: module, recv: "Session", name: "Nothing"},
		{path: module, recv: "Codec", name: "Nothing"},
		{path: "errors", name: "Nothing"},
	} {
		if l.leads(packages) == nil {
			t.Errorf("got nil for %s, want an error", l.recv+"."+l.name)
		}
	}
	for _, text := range []string{"see [Nothing]", "see [Session.Nothing]", "see [session.Nothing.Save]"} {
		if !unresolved.MatchString(text) {
			t.Errorf("%q: got no match", text)
		}
	}
	for _, text := range []string{"a []any", "map[string]int", "func[T any]"} {
		if unresolved.MatchString(text) {
			t.Errorf("%q: got a match", text)
		}
	}
}
