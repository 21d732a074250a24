// Command outside checks the modules of this repository as somebody sees them who has nothing but Go: it makes a module
// proxy in a folder from the working tree, and programs with a module cache of their own get, build and run every
// public module. The other checks see all modules in one workspace, and so don't notice a requirement that no proxy
// has.
//
//	outside ROOT [COMMIT]
//	outside -list ROOT
//
// ROOT is the root of the repository. With COMMIT it checks something else: that the stores of that earlier commit
// compile with the present core, since whoever updates the core need not update a store at the same time. With -list it
// prints the folders of the public modules, each after those that it requires.
package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"golang.org/x/mod/modfile"
	"golang.org/x/mod/module"
	"golang.org/x/mod/zip"
)

const core = "github.com/hipflask/session"

// outside is a folder with a module proxy, and what programs need that use it.
type outside struct {
	root, dir string
	version   string
	modules   []*published // public, the core first
	sums      string       // of the modules of others, as this repository knows them
	env       []string
}

// published is a public module.
type published struct {
	path, folder string
	file         *modfile.File
	text         []byte // of go.mod
}

func main() {
	if err := check(os.Args[1:]); err != nil {
		fmt.Println("outside:", err)
		os.Exit(1)
	}
}

func check(args []string) error {
	list := len(args) > 0 && args[0] == "-list"
	if list {
		args = args[1:]
	}
	if len(args) < 1 || len(args) > 2 {
		return fmt.Errorf("usage: outside ROOT [COMMIT], or outside -list ROOT")
	}
	root, err := filepath.Abs(args[0])
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "outside")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	o := &outside{root: root, dir: dir}
	if list {
		return o.list()
	}
	if len(args) == 2 {
		return o.earlierStores(args[1])
	}
	steps := []func() error{o.read, o.publish, o.everyModule, o.stores, o.command, o.readme}
	for _, step := range steps {
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}

// read finds the public modules: those that programs import or install, and what these need. It reads go.work, so that
// a new module is not forgotten.
func (o *outside) read() error {
	work, err := os.ReadFile(filepath.Join(o.root, "go.work"))
	if err != nil {
		return err
	}
	parsed, err := modfile.ParseWork("go.work", work, nil)
	if err != nil {
		return err
	}
	all := map[string]*published{}
	for _, use := range parsed.Use {
		m := &published{folder: filepath.Join(o.root, use.Path)}
		if m.text, err = os.ReadFile(filepath.Join(m.folder, "go.mod")); err != nil {
			return err
		}
		if m.file, err = modfile.Parse(filepath.Join(use.Path, "go.mod"), m.text, nil); err != nil {
			return err
		}
		m.path = m.file.Module.Mod.Path
		all[m.path] = m
		sum, _ := os.ReadFile(filepath.Join(m.folder, "go.sum"))
		o.sums += string(sum)
	}
	for _, r := range parsed.Replace {
		if r.Old.Path == core {
			o.version = r.Old.Version
		}
	}
	if o.version == "" {
		return fmt.Errorf("go.work replaces no version of %s", core)
	}
	var add func(m *published) error
	add = func(m *published) error {
		if slices.Contains(o.modules, m) {
			return nil
		}
		for _, r := range m.file.Require {
			if !strings.HasPrefix(r.Mod.Path, core) {
				continue
			}
			needed := all[r.Mod.Path]
			if needed == nil || r.Mod.Version != o.version {
				return fmt.Errorf("%s requires %s, but go.work has %s", m.path, r.Mod, o.version)
			}
			if err := add(needed); err != nil {
				return err
			}
		}
		o.modules = append(o.modules, m)
		return nil
	}
	for _, use := range parsed.Use {
		private := strings.HasPrefix(use.Path, "./verify") || strings.HasPrefix(use.Path, "./examples")
		m := all[strings.TrimSuffix(core+strings.TrimPrefix(use.Path, "."), "/")]
		if m == nil {
			return fmt.Errorf("the module in %s has another path than its folder", use.Path)
		}
		if !private {
			if err := add(m); err != nil {
				return err
			}
		}
	}
	return nil
}

func (o *outside) list() error {
	if err := o.read(); err != nil {
		return err
	}
	for _, m := range o.modules {
		folder, err := filepath.Rel(o.root, m.folder)
		if err != nil {
			return err
		}
		fmt.Println(filepath.ToSlash(folder))
	}
	return nil
}

// publish makes the proxy (https://go.dev/ref/mod#goproxy-protocol). Zips are made as the go command makes them, so a
// file that it would refuse is found here.
func (o *outside) publish() error {
	proxy := filepath.Join(o.dir, "proxy")
	for _, m := range o.modules {
		escaped, err := module.EscapePath(m.path)
		if err != nil {
			return err
		}
		dir := filepath.Join(proxy, escaped, "@v")
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
		info, _ := json.Marshal(map[string]string{"Version": o.version, "Time": "2026-01-01T00:00:00Z"})
		for name, text := range map[string][]byte{"list": []byte(o.version + "\n"), o.version + ".info": info,
			o.version + ".mod": m.text} {
			if err := os.WriteFile(filepath.Join(dir, name), text, 0o644); err != nil {
				return err
			}
		}
		file, err := os.Create(filepath.Join(dir, o.version+".zip"))
		if err != nil {
			return err
		}
		if err := zip.CreateFromDir(file, module.Version{Path: m.path, Version: o.version}, m.folder); err != nil {
			return fmt.Errorf("%s: %w", m.path, err)
		}
		if err := file.Close(); err != nil {
			return err
		}
	}
	env := func(name string) string {
		out, _ := exec.Command("go", "env", name).Output()
		return strings.TrimSpace(string(out))
	}
	// What others have published comes from this machine's cache where it is there, with checksums that the repository
	// has.
	o.env = append(os.Environ(),
		"GOPROXY=file://"+filepath.ToSlash(proxy)+",file://"+
			filepath.ToSlash(filepath.Join(env("GOMODCACHE"), "cache", "download"))+","+env("GOPROXY"),
		"GOMODCACHE="+filepath.Join(o.dir, "cache"), "GOWORK=off", "GOSUMDB=off", "GOFLAGS=-modcacherw -trimpath",
		"GOBIN="+filepath.Join(o.dir, "bin"),
	)
	return nil
}

// program writes a program into a module of its own, gets the modules that it needs, builds it and runs it.
func (o *outside) program(name, source string, modules ...string) error {
	dir := filepath.Join(o.dir, name)
	if err := os.Mkdir(dir, 0o755); err != nil {
		return err
	}
	for file, text := range map[string]string{"main.go": source,
		"go.mod": "module example.com/" + name + "\n\ngo 1.26.0\n", "go.sum": o.sums} {
		if err := os.WriteFile(filepath.Join(dir, file), []byte(text), 0o644); err != nil {
			return err
		}
	}
	get := []string{"get"}
	for _, m := range modules {
		get = append(get, m+"@"+o.version)
	}
	for _, args := range [][]string{get, {"build", "-o", "program", "."}} {
		if err := o.run(dir, "go", args...); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	return o.run(dir, "./program")
}

// run runs a command and returns its output if it fails.
func (o *outside) run(dir, name string, args ...string) error {
	c := exec.Command(name, args...)
	c.Dir, c.Env = dir, o.env
	if out, err := c.CombinedOutput(); err != nil {
		return fmt.Errorf("%s %s: %w\n%s", name, strings.Join(args, " "), err, bytes.TrimSpace(out))
	}
	return nil
}

// everyModule imports every package that others can import.
func (o *outside) everyModule() error {
	var imports, paths []string
	for _, m := range o.modules {
		paths = append(paths, m.path)
		found, err := o.packages(m)
		if err != nil {
			return err
		}
		imports = append(imports, found...)
	}
	slices.Sort(imports)
	source := "package main\n\nimport (\n"
	for _, path := range imports {
		source += fmt.Sprintf("\t_ %q\n", path)
	}
	return o.program("every", source+")\n\nfunc main() {}\n", paths...)
}

var packageClause = regexp.MustCompile(`(?m)^package (\w+)`)

// packages returns the packages of a module that can be imported.
func (o *outside) packages(m *published) (found []string, err error) {
	err = filepath.WalkDir(m.folder, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			_, err := os.Stat(filepath.Join(path, "go.mod"))
			name := d.Name()
			if path != m.folder && (err == nil || name == "internal" || name == "testdata" || name == "examples" ||
				name == "tools" ||
				strings.HasPrefix(name, ".") || strings.HasPrefix(name, "_")) {
				return filepath.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return nil
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		relative, _ := filepath.Rel(m.folder, filepath.Dir(path))
		name := strings.TrimSuffix(m.path+"/"+filepath.ToSlash(relative), "/.")
		if clause := packageClause.FindSubmatch(text); clause != nil && string(clause[1]) != "main" &&
			!slices.Contains(found, name) {
			found = append(found, name)
		}
		return nil
	})
	return found, err
}

// stores runs a program for each store. A server that is not there is an outage for them: the program sees a 503.
func (o *outside) stores() error {
	for _, s := range []struct{ name, open, want string }{
		{"filestore", `filestore.Open("sessions", nil)`, "200"},
		{"memstore", `memstore.New(nil), error(nil)`, "200"},
		{"sqlitestore", `sqlitestore.Open(context.Background(), "sessions.db", nil)`, "200"},
		{"redisstore", `redisstore.Open(context.Background(), "redis://127.0.0.1:1", nil)`, ""},
		{"pgstore", `pgstore.Open(context.Background(), "postgres://127.0.0.1:1/x", nil)`, ""},
		{"mysqlstore", `mysqlstore.Open(context.Background(), "mysql://127.0.0.1:1/x", nil)`, ""},
		{"memcachedstore", `memcachedstore.Open(context.Background(), "memcached://127.0.0.1:1", nil)`, ""},
	} {
		path := core + "/store/" + s.name
		get := core
		if slices.ContainsFunc(o.modules, func(m *published) bool { return m.path == path }) {
			get = path
		}
		source := strings.NewReplacer("STORE", path, "OPEN", s.open, "WANT", s.want).Replace(storeProgram)
		if err := o.program(s.name, source, get, core); err != nil {
			return err
		}
	}
	return nil
}

const storeProgram = `package main

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"

	"github.com/hipflask/session"
	"STORE"
)

func main() {
	st, err := OPEN
	if err != nil {
		if "WANT" != "" {
			fmt.Println(err)
			os.Exit(1)
		}
		return // no server is there, and the error says so at once
	}
	if table, ok := any(st).(interface{ Migrate(context.Context) error }); ok && "WANT" != "" {
		if err := table.Migrate(context.Background()); err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
	}
	sessions, err := session.New(session.Config{Store: st, SecretKey: session.NewSecretKey(), InsecureHTTP: true})
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	defer sessions.Close()
	w := httptest.NewRecorder()
	sessions.Handler(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		session.From(r).Login("ann")
	})).ServeHTTP(w, httptest.NewRequest("POST", "/", nil))
	want := "WANT"
	if want == "" {
		want = "503"
	}
	if fmt.Sprint(w.Code) != want {
		fmt.Println("got status", w.Code, "want", want)
		os.Exit(1)
	}
}
`

// command installs the command by the line that the documents have, and runs it.
func (o *outside) command() error {
	if err := o.run(o.dir, "go", "install", core+"/cmd/hipflask@"+o.version); err != nil {
		return err
	}
	return o.run(o.dir, filepath.Join(o.dir, "bin", "hipflask"), "keygen")
}

// readme runs what the README says for the time until the modules are published.
func (o *outside) readme() error {
	text, err := os.ReadFile(filepath.Join(o.root, "README.md"))
	if err != nil {
		return err
	}
	block := regexp.MustCompile("(?s)```sh\n(git clone [^`]*)```").FindSubmatch(text)
	if block == nil {
		return fmt.Errorf("README.md has no block of sh that begins with git clone")
	}
	script := regexp.MustCompile(`git clone https://\S+`).ReplaceAllString(string(block[1]),
		"git clone -q '"+o.root+"'")
	dir := filepath.Join(o.dir, "readme")
	if err := os.Mkdir(dir, 0o755); err != nil {
		return err
	}
	script += "\ncat >app/main.go <<'EOF'\n" + cloneProgram + "EOF\ngo build -o program ./app\n"
	c := exec.Command("sh", "-eu", "-c", script)
	c.Dir = dir
	c.Env = append(slices.Clone(o.env), "GOWORK=", "GIT_CONFIG_COUNT=1", "GIT_CONFIG_KEY_0=safe.directory",
		"GIT_CONFIG_VALUE_0=*")
	if out, err := c.CombinedOutput(); err != nil {
		return fmt.Errorf("the README's lines for a clone: %w\n%s", err, bytes.TrimSpace(out))
	}
	return nil
}

const cloneProgram = `package main

import (
	_ "github.com/hipflask/session"
	_ "github.com/hipflask/session/store/sqlitestore"
)

func main() {}
`

// earlierStores compiles the store modules of an earlier commit with the present core.
func (o *outside) earlierStores(commit string) error {
	dir := filepath.Join(o.dir, "earlier")
	if err := os.Mkdir(dir, 0o755); err != nil {
		return err
	}
	archive := exec.Command("git", "-c", "safe.directory="+o.root, "-C", o.root, "archive", commit, "store")
	untar := exec.Command("tar", "-x", "-C", dir)
	var err error
	if untar.Stdin, err = archive.StdoutPipe(); err != nil {
		return err
	}
	var errs bytes.Buffer
	archive.Stderr, untar.Stderr = &errs, &errs
	if err := untar.Start(); err != nil {
		return err
	}
	if err := archive.Run(); err != nil {
		return fmt.Errorf("the stores of commit %s: %w\n%s", commit, err, errs.Bytes())
	}
	if err := untar.Wait(); err != nil {
		return fmt.Errorf("the stores of commit %s: %w\n%s", commit, err, errs.Bytes())
	}
	found, err := filepath.Glob(filepath.Join(dir, "store", "*", "go.mod"))
	if err != nil || len(found) == 0 {
		return fmt.Errorf("commit %s has no store modules", commit)
	}
	work, patterns := "go 1.26.0\n\nuse "+o.root+"\n", []string{"build"}
	replaced := map[string]bool{}
	for _, file := range found {
		text, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		parsed, err := modfile.ParseLax(file, text, nil)
		if err != nil {
			return err
		}
		folder := filepath.Dir(file)
		work += "use " + folder + "\n"
		patterns = append(patterns, folder)
		for _, r := range parsed.Require {
			if r.Mod.Path == core && !replaced[r.Mod.Version] {
				replaced[r.Mod.Version] = true
				work += fmt.Sprintf("replace %s %s => %s\n", core, r.Mod.Version, o.root)
			}
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "go.work"), []byte(work), 0o644); err != nil {
		return err
	}
	c := exec.Command("go", patterns...)
	c.Dir = dir
	c.Env = append(os.Environ(), "GOWORK="+filepath.Join(dir, "go.work"))
	if out, err := c.CombinedOutput(); err != nil {
		return fmt.Errorf("the stores of commit %s don't compile with this core: %w\n%s", commit, err,
			bytes.TrimSpace(out))
	}
	return nil
}
