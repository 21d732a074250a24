package doctest

import (
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
)

const root = "../.."

// workspace returns a compiler for the packages of this checkout.
var workspace = sync.OnceValues(func() (*compiler, error) {
	abs, err := filepath.Abs(root)
	if err != nil {
		return nil, err
	}
	return newCompiler(abs)
})

// documents returns the names of all Markdown files below root. Left out are folders that the go command ignores, and
// what ./bench installs.
func documents(t *testing.T) (names []string) {
	t.Helper()
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		name := d.Name()
		if err == nil && d.IsDir() && path != root &&
			(strings.ContainsAny(name[:1], "._") || name == "testdata" || name == "node_modules") {
			return fs.SkipDir
		}
		if err == nil && filepath.Ext(name) == ".md" {
			rel, _ := filepath.Rel(root, path) // can't fail: path begins with root
			names = append(names, filepath.ToSlash(rel))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return names
}

// check returns what is wrong in documents, given by name.
func check(t *testing.T, texts map[string]string) (problems []problem) {
	t.Helper()
	var units []unit
	for file, text := range texts {
		blocks, prose, found := split(file, strings.ReplaceAll(text, "\r\n", "\n"))
		problems = append(problems, found...)
		problems = append(problems, checkLinks(root, file, prose)...)
		for _, b := range blocks {
			if b.language == "sh" {
				problems = append(problems, checkCommands(root, b)...)
			}
		}
		more, found := toUnits(blocks)
		problems = append(problems, found...)
		units = append(units, more...)
	}
	c, err := workspace()
	if err != nil {
		t.Fatal(err)
	}
	return append(problems, c.check(units)...)
}

func TestDocuments(t *testing.T) {
	t.Parallel()
	needsWorkspace(t)
	names := documents(t)
	if !slices.Contains(names, "README.md") {
		t.Error("README.md does not exist")
	}
	texts := map[string]string{}
	for _, name := range names {
		text, err := os.ReadFile(filepath.Join(root, name))
		if err != nil {
			t.Fatal(err)
		}
		texts[name] = string(text)
	}
	for _, p := range check(t, texts) {
		t.Error(p)
	}
}

// needsWorkspace skips the test in the module cache, where the documents' other modules are not at hand.
func needsWorkspace(t *testing.T) {
	t.Helper()
	if _, err := os.Stat(filepath.Join(root, "go.work")); err != nil {
		t.Skip("not a checkout: no go.work")
	}
}

func TestWrongDocuments(t *testing.T) {
	t.Parallel()
	needsWorkspace(t)
	for _, c := range []struct{ name, document, want string }{
		{"type error in statements", "x\n```go\n\nvar n int = `text`\n_ = n\n```\n", "x.md:4: cannot use `text`"},
		{"type error in declarations", "```go\nfunc f() int { return `text` }\n```", "x.md:2: cannot use `text`"},
		{"type error after imports", "```go\nimport \"net/http\"\n\nhttp.Nothing()\n```",
			"x.md:4: undefined: http.Nothing"},
		{"type error after a group of imports", "```go\nimport (\n\t\"net/http\"\n)\n\nhttp.Nothing()\n```",
			"x.md:6: undefined: http.Nothing"},
		{"undefined name", "```go\nnobody()\n```", "x.md:2: undefined: nobody"},
		{"undefined name of ours", "```go\nvar s store.Nothing\n```", "x.md:2: undefined: store.Nothing"},
		{"undefined field", "```go\n_ = store.Record{Nothing: 1}\n```", "x.md:2: unknown field Nothing"},
		{"unknown package", "```go\nimport \"nowhere.example/p\"\n\np.F()\n```",
			"x.md:2: could not import nowhere.example/p"},
		{"syntax in statements", "```go\na := 1\na :=\n```", "x.md:5: expected operand"},
		{"syntax in declarations", "```go\nfunc f() {}\n\nfunc g( {}\n```", "x.md:4: expected"},
		{"syntax of a program", "```go\npackage main\n\nfunc main() {\n```", "x.md:5: expected '}'"},
		{"unused import of a program", "```go\npackage main\n\nimport \"os\"\n\nfunc main() {}\n```",
			`x.md:4: "os" imported and not used`},
		{"missing import of a program", "```go\npackage main\n\nfunc main() { os.Exit(0) }\n```",
			"x.md:4: undefined: os"},
		{"program without main", "```go\npackage main\n```", "x.md:2: package main without func main"},
		{"second block does not continue", "```go\nn := 1\n```\n```go\n_ = n\n```", "x.md:5: undefined: n"},
		{"nothing to continue", "```go continues\n_ = 1\n```", `x.md:1: "continues" has no meaning here`},
		{"mark", "```go nonsense\n_ = 1\n```", `x.md:1: "nonsense" has no meaning here`},
		{"indented block", "1. x\n\n   ```go\n   nobody()\n   ```\n", "x.md:4: undefined: nobody"},
		{"no end", "```text\nx\n", "x.md:1: code block without an end"},
		{"command", "```sh\n./test # ./nothing\n./nothing -x\n```", "x.md:3: ./nothing does not exist"},
		{"package", "```sh\ngo get github.com/hipflask/session/nothing@latest\n```",
			"x.md:2: github.com/hipflask/session/nothing@latest does not exist"},
		{"link", "see\n[a](LICENSE) [b](nothing.md#top)", "x.md:2: nothing.md does not exist"},
		{"heading", "# A `b`, c\n\n[a](#a-b-c) [b](#a)", "x.md:3: #a names no heading"},
		{"heading of another document", "[a](docs/deploy.md#secrets) [b](docs/deploy.md#secret)",
			"x.md:1: docs/deploy.md#secret names no heading"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			problems := check(t, map[string]string{"x.md": c.document})
			if len(problems) != 1 || !strings.HasPrefix(problems[0].String(), c.want) {
				t.Errorf("got %v, want one that begins with %q", problems, c.want)
			}
		})
	}
}

func TestRightDocuments(t *testing.T) {
	t.Parallel()
	needsWorkspace(t)
	for _, c := range []struct{ name, document string }{
		{"program", "```go\npackage main\n\nimport \"os\"\n\nfunc main() { os.Exit(0) }\n```"},
		{"statements", "```go\nn := 1\nw.WriteHeader(http.StatusOK)\n```"},
		{"statements with imports", "```go\nimport h \"net/http\"\n\nh.NotFound(w, r)\n```"},
		{"declarations", "```go\nfunc f(rec store.Record) error { return fmt.Errorf(\"%v\", rec.Kind) }\n```"},
		{"handler", "```go\nmux.HandleFunc(\"GET /\", func(w http.ResponseWriter, r *http.Request) { " +
			"log.Print(r.URL) })\n```"},
		{"return", "```go\nif err := ctx.Err(); err != nil {\n\treturn err\n}\n```"},
		{"bare return", "```go\nif err != nil {\n\thttp.Error(w, \"no\", 500)\n\treturn\n}\n```"},
		{"bare return beside another", "```go\nf := func() int { return 1 }\nif f() > 1 {\n\treturn\n}\n```"},
		{"preferred package", "```go\nb := make([]byte, 8)\nrand.Read(b)\n```"},
		{"continued",
			"```go\nfunc f() int { return 1 }\n```\n```go continues\nn := f()\n```\n```go continues\n_ = n\n```"},
		{"another language", "```text\n./nothing [x](nothing)\n```"},
		{"longer fence", "````text\n```go\nnobody()\n```\n````\n"},
		{"other fence", "~~~text\n```go\nnobody()\n```\n~~~\n"},
		{"commands",
			"```sh\n./test -quick\ngo test ./... ./store/...\ngo get github.com/hipflask/session/store@latest\n```"},
		{"links", "[a](LICENSE#x) [b](https://example.com/nothing) [c](#x)\n\n## X"},
		{"windows lines", "```go\r\nn := 1\r\n```\r\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			for _, p := range check(t, map[string]string{"x.md": c.document}) {
				t.Errorf("got %v, want nothing", p)
			}
		})
	}
}
