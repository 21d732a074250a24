// Command typecheck checks the types of the packages below the current folder, with their tests, for other systems. It
// finds what "go build" and "go vet" find there, but reads the standard library's sources instead of compiling them for
// each system, which takes a tenth of the time.
//
//	typecheck GOOS/GOARCH...
package main

import (
	"cmp"
	"fmt"
	"os"
	"slices"
	"strings"

	"golang.org/x/tools/go/packages"
)

func main() {
	failed := false
	for _, platform := range os.Args[1:] {
		problems, err := check(".", platform)
		if err != nil {
			problems = append(problems, err.Error())
		}
		for _, problem := range problems {
			fmt.Printf("%s: %s\n", platform, problem)
			failed = true
		}
	}
	if failed {
		os.Exit(1)
	}
}

// check returns what is wrong with the packages below dir for a platform, GOOS/GOARCH.
func check(dir, platform string) ([]string, error) {
	system, architecture, ok := strings.Cut(platform, "/")
	if !ok {
		return nil, fmt.Errorf("%q is not GOOS/GOARCH", platform)
	}
	list, err := packages.Load(&packages.Config{
		Mode: packages.NeedName | packages.NeedFiles | packages.NeedCompiledGoFiles | packages.NeedImports |
			packages.NeedDeps | packages.NeedModule |
			packages.NeedTypes | packages.NeedTypesSizes | packages.NeedSyntax | packages.NeedTypesInfo,
		Dir:   dir,
		Tests: true,
		Env:   append(os.Environ(), "GOOS="+system, "GOARCH="+architecture, "CGO_ENABLED=0"),
	}, "./...")
	if err != nil {
		return nil, err
	}
	var problems []string
	if len(list) == 0 {
		problems = append(problems, "no packages")
	}
	packages.Visit(list, nil, func(p *packages.Package) {
		for _, e := range p.Errors {
			problems = append(problems, cmp.Or(e.Pos, p.PkgPath)+": "+e.Msg)
		}
	})
	slices.Sort(problems)
	return slices.Compact(problems), nil // a package and its test have the same
}
