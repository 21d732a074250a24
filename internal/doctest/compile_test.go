package doctest

import (
	"errors"
	"fmt"
	"go/ast"
	"go/importer"
	"go/parser"
	"go/scanner"
	"go/token"
	"go/types"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
)

// variables may be used in fragments without a declaration.
var variables = map[string]struct{ typ, imports string }{
	"ctx":      {"context.Context", "context"},
	"err":      {"error", ""},
	"mux":      {"*http.ServeMux", "net/http"},
	"next":     {"http.Handler", "net/http"},
	"r":        {"*http.Request", "net/http"},
	"s":        {"*session.Session", module},
	"sessions": {"*session.Manager", module},
	"t":        {"*testing.T", "testing"},
	"w":        {"http.ResponseWriter", "net/http"},
}

// preferred says which package is meant where several have the same name.
var preferred = map[string]string{"rand": "crypto/rand", "template": "html/template"}

// unit is what is compiled together: a program, or a fragment with those that it continues.
type unit struct {
	block
	program      bool
	imports      string // import declarations of the fragment and of those before it
	declarations string
	statements   []string // one element a block
}

// toUnits makes a unit of each Go block. One marked "continues" sees what the block before it declares.
func toUnits(blocks []block) (units []unit, problems []problem) {
	var last unit
	for _, b := range blocks {
		if b.language != "go" {
			continue
		}
		u := unit{block: b}
		switch {
		case b.mark == "continues" && !last.program && len(last.statements)+len(last.declarations) > 0:
			u = last
			u.block, u.statements = b, append([]string{}, last.statements...)
		case b.mark != "":
			problems = append(problems, problem{b.file, b.line - 1, strconv.Quote(b.mark) + " has no meaning here"})
		}
		if err := u.add(b); err != nil {
			problems = append(problems, syntaxProblems(b, err)...)
			last = unit{}
			continue
		}
		last = u
		units = append(units, u)
	}
	return units, problems
}

// add decides what a block is: a program, declarations or statements.
func (u *unit) add(b block) error {
	const head = "package fragment\n"
	fset := token.NewFileSet()
	if _, err := parser.ParseFile(fset, "", b.text, parser.PackageClauseOnly); err == nil {
		_, err := parser.ParseFile(fset, b.file, at(b, b.text), 0)
		u.program, u.declarations = true, b.text
		return err
	}
	imports, body := "", b.text
	if file, err := parser.ParseFile(fset, "", head+b.text, parser.ImportsOnly); err == nil && len(file.Decls) > 0 {
		end := fset.Position(file.Decls[len(file.Decls)-1].End()).Offset - len(head)
		imports, body = b.text[:end], strings.Repeat("\n", strings.Count(b.text[:end], "\n"))+b.text[end:]
	}
	u.imports += at(b, imports)
	_, asDeclarations := parser.ParseFile(fset, b.file, head+at(b, body), 0)
	if asDeclarations == nil {
		u.declarations += at(b, body)
		return nil
	}
	_, asStatements := parser.ParseFile(fset, b.file, head+"func _() {"+at(b, body)+"}", 0)
	if asStatements == nil {
		u.statements = append(u.statements, at(b, body))
		return nil
	}
	if line(asDeclarations) > line(asStatements) {
		return asDeclarations
	}
	return asStatements
}

// at puts a line directive before text, so that errors name the document's lines.
func at(b block, text string) string {
	return fmt.Sprintf("\n//line %s:%d\n%s\n", b.file, b.line, text)
}

func line(err error) int {
	var list scanner.ErrorList
	if errors.As(err, &list) && len(list) > 0 {
		return list[0].Pos.Line
	}
	return 0
}

func syntaxProblems(b block, err error) []problem {
	var list scanner.ErrorList
	if !errors.As(err, &list) || len(list) == 0 {
		return []problem{{b.file, b.line, err.Error()}}
	}
	return []problem{{b.file, list[0].Pos.Line, list[0].Msg}}
}

// source returns the unit as a Go file with further imports.
func (u unit) source(imports map[string]string) string {
	if u.program {
		return at(u.block, u.declarations)
	}
	var b strings.Builder
	b.WriteString("package fragment\n" + u.imports + "\n")
	for name, path := range imports {
		fmt.Fprintf(&b, "import %s %q\n", name, path)
	}
	b.WriteString(u.declarations)
	result, end := "", ""
	if returnsError(u.statements) {
		result, end = "error", "\nreturn nil\n"
	}
	fmt.Fprintf(&b, "\nfunc _() %s {", result)
	b.WriteString(strings.Join(u.statements, "{"))
	b.WriteString(strings.Repeat("}\n", max(0, len(u.statements)-1)))
	b.WriteString(end + "}\n")
	return b.String()
}

// returnsError reports whether statements return a value: then they are the body of a function that returns an error.
func returnsError(statements []string) (found bool) {
	body := "package fragment\nfunc _() {" + strings.Join(statements, "\n") + "}"
	file, err := parser.ParseFile(token.NewFileSet(), "", body, 0)
	if err != nil {
		return false
	}
	ast.Inspect(file, func(n ast.Node) bool {
		if ret, ok := n.(*ast.ReturnStmt); ok && len(ret.Results) > 0 {
			found = true
		}
		_, inner := n.(*ast.FuncLit)
		return !inner
	})
	return found
}

// compiler checks units against the packages of a workspace.
type compiler struct {
	root  string
	fset  *token.FileSet
	paths map[string]string // package name to import path
}

func newCompiler(root string) (*compiler, error) {
	c := &compiler{root: root, fset: token.NewFileSet(), paths: map[string]string{}}
	out, err := c.goList("-find", "-f", "{{.Name}} {{.ImportPath}}", "std", "work")
	if err != nil {
		return nil, err
	}
	for line := range strings.Lines(out) {
		name, path, _ := strings.Cut(strings.TrimSpace(line), " ")
		hidden := strings.Contains("/"+path+"/", "/internal/") || strings.HasPrefix(path, "vendor/")
		if name == "main" || name == "" || hidden {
			continue
		}
		if _, ambiguous := c.paths[name]; ambiguous {
			path = preferred[name]
		}
		c.paths[name] = path
	}
	return c, nil
}

func (c *compiler) goList(args ...string) (string, error) {
	cmd := exec.Command("go", append([]string{"list"}, args...)...)
	cmd.Dir = c.root
	cmd.Env = append(cmd.Environ(), "GOWORK="+filepath.Join(c.root, "go.work"))
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("go list: %w: %s", err, stderr.String())
	}
	return string(out), nil
}

// files are the parsed files of a unit.
type files struct {
	unit
	syntax []*ast.File
}

// parse completes a unit by the imports and variables that it uses without declaring them.
func (c *compiler) parse(u unit) (files, error) {
	imports, prelude := map[string]string{}, "package fragment\n"
	if !u.program {
		names, err := undeclared(u)
		if err != nil {
			return files{}, err
		}
		declarations := ""
		needed := map[string]bool{"": true}
		for name := range names {
			if v, ok := variables[name]; ok {
				declarations += fmt.Sprintf("var %s %s\n", name, v.typ)
				if !needed[v.imports] {
					prelude += fmt.Sprintf("import %q\n", v.imports)
				}
				needed[v.imports] = true
			} else if path := c.paths[name]; path != "" {
				imports[name] = path
			}
		}
		prelude += declarations
	}
	f := files{unit: u}
	sources := []string{u.source(imports)}
	if !u.program {
		sources = append(sources, prelude)
	}
	for _, source := range sources {
		syntax, err := parser.ParseFile(c.fset, u.file, source, 0)
		if err != nil {
			return files{}, err
		}
		f.syntax = append(f.syntax, syntax)
	}
	return f, nil
}

// undeclared returns the names that a fragment uses and nothing declares.
func undeclared(u unit) (map[string]bool, error) {
	fset := token.NewFileSet()
	file, err := parser.ParseFile(fset, u.file, u.source(nil), 0)
	if err != nil {
		return nil, err
	}
	info := &types.Info{Defs: map[*ast.Ident]types.Object{}, Uses: map[*ast.Ident]types.Object{}}
	config := types.Config{Error: func(error) {}, Importer: nothing{}}
	pkg, _ := config.Check("fragment", fset, []*ast.File{file}, info) // its errors are the question
	names := map[string]bool{}
	var visit func(ast.Node) bool
	visit = func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.SelectorExpr:
			ast.Inspect(n.X, visit)
			return false
		case *ast.Ident:
			_, defined := info.Defs[n]
			if !defined && info.Uses[n] == nil && pkg.Scope().Lookup(n.Name) == nil {
				names[n.Name] = true
			}
		}
		return true
	}
	ast.Inspect(file, visit)
	return names, nil
}

// nothing is an importer of no package.
type nothing struct{}

func (nothing) Import(string) (*types.Package, error) { return nil, errors.New("not now") }

// check compiles units. Unused variables and imports are forgiven in fragments.
func (c *compiler) check(units []unit) (problems []problem) {
	var all []files
	paths := map[string]bool{}
	for _, u := range units {
		f, err := c.parse(u)
		if err != nil {
			problems = append(problems, syntaxProblems(u.block, err)...)
			continue
		}
		all = append(all, f)
		for _, syntax := range f.syntax {
			for _, spec := range syntax.Imports {
				if path, err := strconv.Unquote(spec.Path.Value); err == nil {
					paths[path] = true
				}
			}
		}
	}
	packages, err := c.importer(paths)
	if err != nil {
		return append(problems, problem{"go list", 0, err.Error()})
	}
	for _, f := range all {
		config := types.Config{Importer: packages, Error: func(err error) {
			var e types.Error
			if errors.As(err, &e) && (f.program || !e.Soft) {
				pos := c.fset.Position(e.Pos)
				problems = append(problems, problem{pos.Filename, pos.Line, e.Msg})
			}
		}}
		pkg, _ := config.Check(f.syntax[0].Name.Name, c.fset, f.syntax, nil) // config.Error has the errors
		if pkg.Name() == "main" && pkg.Scope().Lookup("main") == nil {
			problems = append(problems, problem{f.file, f.line, "package main without func main"})
		}
	}
	return problems
}

// importer returns an importer of the named packages, compiled by the go command.
func (c *compiler) importer(paths map[string]bool) (types.Importer, error) {
	args := []string{"-e", "-export", "-f", "{{.ImportPath}}\t{{.Export}}", "--"}
	for path := range paths {
		args = append(args, path)
	}
	if len(paths) == 0 {
		return nothing{}, nil
	}
	out, err := c.goList(args...)
	if err != nil {
		return nil, err
	}
	export := map[string]string{}
	for line := range strings.Lines(out) {
		path, file, _ := strings.Cut(strings.TrimSuffix(line, "\n"), "\t")
		export[path] = file
	}
	return importer.ForCompiler(c.fset, "gc", func(path string) (io.ReadCloser, error) {
		if export[path] == "" {
			return nil, errors.New("no such package, or it does not compile")
		}
		return os.Open(export[path])
	}), nil
}
